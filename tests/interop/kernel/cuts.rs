//! A cut connection loses nothing where the mail servers hold it and the kernel has its keys.

/// Rules: R29, B19, C7
#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn a_connection_that_is_reset_anywhere_loses_no_mail() {
    crate::loss::reset_in_the_kernels_tls();
}

/// Rules: R29, B19, C7
#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn a_connection_that_falls_silent_loses_no_mail() {
    crate::loss::silence_in_the_kernels_tls();
}
