//! Hermetic tests: no mail server, no network beyond socket pairs and loopback.
// A test that cannot go on must stop with the reason: unwrap, expect and panic are how tests say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]
#![allow(
    clippy::unreachable,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]
mod accounts_credential;
mod accounts_external;
mod accounts_file;
mod accounts_grant;
mod accounts_login;
mod activation_descriptors;
mod activation_notify;
mod activation_one;
mod activation_places;
mod activation_standing;
mod activation_tls;
mod attributes;
mod catch;
mod catch_activation;
mod catch_documented;
mod catch_hostile;
mod check_others;
mod cli;
mod completions;
mod config;
mod config_command;
mod config_options;
mod config_secret;
mod config_tls;
mod config_values;
mod confinement;
mod conformance;
mod documents;
mod driver;
mod fetch_daemon;
mod fetch_daemon_seen;
mod fetch_hooks;
mod fetch_run;
mod fetch_talk;
mod fetch_tls;
mod fetch_tls_hostile;
mod fetch_unendable;
mod handoff_customer_catch;
mod handoff_customer_exec;
mod handoff_customer_pass;
mod handoff_listening;
mod handoff_provider_lend;
mod handoff_provider_rounds;
mod handoff_relay;
mod handoff_spliced;
mod hostile_labels;
mod hostile_reload;
mod hostile_secret;
mod hostile_serve;
mod kernel_tls;
mod layers;
mod log_fail2ban;
mod log_targets;
mod man;
mod metrics_port;
mod network;
mod next_hop;
mod odmr_customer;
mod odmr_greeting;
mod odmr_provider;
mod odmr_tls_customer;
mod odmr_tls_provider;
mod odmr_world;
mod passwd;
mod probe;
mod probe_faults;
mod queue;
mod queue_showq;
mod queue_together;
mod relay;
mod report;
mod sasl_binding;
mod sasl_by_hand;
mod sasl_exchange;
mod sasl_external;
mod sasl_scram_hostile;
mod sasl_vectors;
mod serve_crowd;
mod serve_guesses;
mod serve_limits;
mod serve_load;
mod serve_log;
mod serve_login;
mod serve_signals;
mod serve_start;
mod serve_tls;
mod serve_tls_files;
mod serve_tls_hostile;
mod serve_tls_login;
mod serve_turn;
mod shipped;
mod smtp_command;
mod smtp_domain;
mod smtp_line;
mod smtp_reply;
mod status_control;
mod status_serve;
mod status_watch;
mod tls_certificates;
mod tls_files;
mod tls_refusals;
mod tls_world;
mod transcripts;
mod wire;
mod wire_tls;
