//! Landlock and `AppArmor`, which the running kernel may lack as well.

#[test]
#[ignore = "needs Landlock in the kernel: kernel/mod.rs runs it in a guest"]
fn mail_is_delivered_through_postfix_confined_by_landlock_and_nothing_else_is_readable() {
    crate::confined::confined_by_landlock();
}

#[test]
#[ignore = "needs AppArmor in the kernel: kernel/mod.rs runs it in a guest"]
fn mail_is_delivered_through_postfix_under_the_profile_for_apparmor_and_nothing_else_is_readable() {
    crate::confined::confined_by_apparmor();
}
