//! TLS that survives the turn: with real mail servers, with other TLS libraries, and against those who mean ill.

mod counterparts;
mod openssl;
