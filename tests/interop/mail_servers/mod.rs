//! Other mail servers as the customer's: those that take no descriptor and are relayed to.

mod relay;
