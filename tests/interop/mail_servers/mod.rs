//! Other mail servers as the customer's: those that are relayed to, and those that are started.

mod exec;
mod relay;
