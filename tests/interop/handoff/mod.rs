//! The provider's hand-offs against a real Postfix and a real Exim, with a scripted customer.

mod customer;
mod exim;
mod machine;
mod mail;
mod postfix;
mod provider;
