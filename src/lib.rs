//! turnabout: On-Demand Mail Relay (ODMR, RFC 2645) for the mail server you already run.
//!
//! # ODMR in ten lines
//!
//! A **customer** without a fixed address dials its **provider** on port 366 and says EHLO, AUTH and
//! ATRN, the "authenticated turn". The provider looks into its queue: no mail is 453, a domain that
//! is not the customer's is 450, what cannot be found out is 451. With 250 the connection turns:
//! the customer is now the SMTP server and speaks first (220), the provider is the SMTP client and
//! delivers the queued mail over that same connection, then says QUIT. turnabout speaks up to the
//! turn, on both sides, and then gives the descriptor itself to an unmodified mail server.
//!
//! # The way of a connection
//!
//! ```text
//!   peer's octets                                                       operator's files
//!       |                                                                      |
//!     wire --Line--> smtp::Command / Reply --> odmr machine <--answers-- config, accounts, queue
//!       ^                                         |  actions: say, verify, ask, turn, close
//!       |<---------- serve / fetch (drivers) <----+
//!       |                                         |
//!       |                                      Turned     proof: who, which domains; only a machine makes one
//!       |                                         |
//!       +------ Wire::release() -> Released ------+--> handoff: Ready -> the mail server has it
//!                                                                |
//!                                                             report: one closing line
//! ```
//!
//! Four values carry it, each consumed by the next step: [`smtp::Line`] (bounded, CRLF proven),
//! [`smtp::Command`] or [`smtp::Reply`] (parsed), [`odmr::Turned`] (agreed), [`wire::Released`]
//! (nothing read beyond the last line, nobody else writes).
//!
//! * **Two phases.** What can fail is prepared before the point of no return (the provider's 250, the
//!   customer's ATRN), while 451 or no ATRN at all is still possible.
//! * **Nothing is over-read.** What a peer sends early stays in the kernel, is seen there, and is
//!   refused or left to the mail server; it is never dropped and never taken for something else.
//! * **The core is pure.** `smtp` and `odmr` make no system call, read no clock, draw no randomness
//!   and write no log, so that any transcript replays octet by octet. (`sasl` is so too, except that
//!   its SCRAM library draws the nonces itself.)
//!
//! # Rooms
//!
//! ```text
//! smtp       words: line, command, reply, EHLO offer, domain, next hop, network
//! sasl       mechanisms, both sides: PLAIN, LOGIN, CRAM-MD5, SCRAM (bound or not), EXTERNAL
//! tls        certificates, names and versions; what a handshake has shown
//! odmr       conversations: provider, customer, and the provider's first words after the turn
//! wire       one peer: lines in, replies out, release() the only way to the descriptor
//! queue      the mail server's queue: is there mail, flush it (Postfix, Exim)
//! config     turnabout.toml: one table of keys
//! report     what happened: one event, one line; the ledger of sessions, and what is counted
//! service    what we were started with (inetd, systemd, by hand), and what a service manager hears
//! handoff    provider: postfix_cache, exim_continue    customer: postfix_pass, exec, catch, relay
//! accounts   who may log in and fetch which domains
//! control    what a service shows: status on a socket, metrics on a port or in a file
//! serve      the provider's process: listen, drop root, drive sessions, reload, stop
//! fetch      the customer's process: dial, drive, hand over, report; a dry run of it: probe
//! check      the configuration and the machine, read as a careful colleague would
//! catch      the mail server's end of a hand-off between containers: receive, check, run it
//! cli        one file a command
//! ```
//!
//! # Layers
//!
//! A module uses only what stands in a row below its own; modules of one row are strangers. A test
//! (`layers`) holds every `use crate::` against this table.
//!
//! ```text
//! 5  cli
//! 4  serve   fetch   check   catch
//! 3  handoff   accounts   control
//! 2  wire   queue   config   report   service
//! 1  odmr   tls
//! 0  smtp   sasl
//! ```
// Allowed in one module, `wire::close_notify`, which says why.
#![deny(unsafe_code)]

pub mod accounts;
pub mod catch;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod fetch;
pub mod handoff;
pub mod odmr;
pub mod queue;
pub mod report;
pub mod sasl;
pub mod serve;
pub mod service;
pub mod smtp;
pub mod tls;
pub mod wire;
