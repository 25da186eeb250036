//! Which command is in order in which state: the matrix of RFC 2645 5, and the order of ATRN's decisions.

use super::replies;
use super::{
    Access, Action, Authenticated, Identity, Provider, QueueAnswer, Request, Starttls, State,
};
use crate::odmr::{Direction, Turned};
use crate::smtp::command::CommandError;
use crate::smtp::{
    Command, Domain, DomainList, Line, LineError, Reply, Verb, is_http_header, is_http_request,
};

impl Provider {
    /// A line before authentication. ATRN is refused with 530 here, however it is written (rule R15).
    pub(super) fn initial_line(
        &mut self,
        greeted: bool,
        first: bool,
        line: Result<Line, LineError>,
        pending: bool,
    ) -> Action {
        let state = State::Initial { greeted };
        let Ok(line) = line else {
            return self.bad(state, replies::bad_line());
        };
        // A browser that was sent here must not get as far as its request's body (rule C14).
        if (first && is_http_request(line.as_bytes()))
            || (!greeted && is_http_header(line.as_bytes()))
        {
            return Action::Close(replies::not_smtp());
        }
        let command = Command::parse(&line);
        match (verb(&command), command) {
            (Some(Verb::Starttls), command) => self.starttls(greeted, &command, pending),
            (verb, _) if self.settings.starttls == Starttls::Required && !is_safe(verb) => {
                self.bad(state, replies::tls_required())
            }
            (Some(Verb::Atrn), _) => self.bad(state, replies::authentication_required()),
            (Some(Verb::Auth), Ok(Command::Auth { mechanism, initial })) if greeted => {
                self.auth(&mechanism, initial)
            }
            (Some(Verb::Auth), _) if !greeted => {
                self.bad(state, replies::out_of_place("Send EHLO first"))
            }
            (_, Ok(Command::Ehlo(name))) => self.ehlo(State::Initial { greeted: true }, name),
            (_, command) => self.anywhere(state, &command),
        }
    }

    /// STARTTLS before authentication (rules B43, B46).
    fn starttls(
        &mut self,
        greeted: bool,
        command: &Result<Command, CommandError>,
        pending: bool,
    ) -> Action {
        let state = State::Initial { greeted };
        match (command, self.settings.starttls) {
            (Err(_), _) => self.bad(state, replies::bad_argument()),
            (Ok(_), Starttls::Active) => {
                self.bad(state, replies::out_of_place("TLS is active already"))
            }
            (Ok(_), _) if !greeted => self.bad(state, replies::out_of_place("Send EHLO first")),
            (Ok(_), Starttls::No) => self.bad(state, replies::not_implemented()),
            // What lies behind it was sent in the clear, by whomever, to be read under TLS. It is not read at all
            // (CVE-2011-0411, rules C1, B58).
            (Ok(_), Starttls::Offered | Starttls::Required) if pending => {
                Action::Close(replies::ahead_of_tls())
            }
            (Ok(_), Starttls::Offered | Starttls::Required) => {
                self.state = State::StartingTls;
                Action::StartTls(replies::start_tls())
            }
        }
    }

    /// A line after authentication. EHLO stays possible and changes nothing (rules B10, B37, X3).
    pub(super) fn authenticated_line(
        &mut self,
        authenticated: Authenticated,
        line: Result<Line, LineError>,
        pending: bool,
    ) -> Action {
        let Ok(line) = line else {
            return self.bad(State::Authenticated(authenticated), replies::bad_line());
        };
        let command = Command::parse(&line);
        match (verb(&command), command) {
            // Whoever does not wait for the reply does not know who speaks next (rules B59, C4).
            (Some(Verb::Atrn), _) if pending => {
                self.bad(State::Authenticated(authenticated), ahead())
            }
            (Some(Verb::Atrn), Ok(Command::Atrn(domains))) => self.atrn(authenticated, domains),
            (Some(Verb::Auth), _) => self.bad(
                State::Authenticated(authenticated),
                replies::out_of_place("Already authenticated"),
            ),
            (Some(Verb::Starttls), Ok(_)) => self.bad(
                State::Authenticated(authenticated),
                replies::out_of_place("Not after authentication"),
            ),
            (_, Ok(Command::Ehlo(name))) => self.ehlo(State::Authenticated(authenticated), name),
            (_, command) => self.anywhere(State::Authenticated(authenticated), &command),
        }
    }

    /// What is answered the same in all states.
    fn anywhere(&mut self, state: State, command: &Result<Command, CommandError>) -> Action {
        match command {
            Ok(Command::Quit) => Action::Close(replies::bye()),
            Ok(Command::Noop | Command::Rset) => self.stay(state, replies::ok()),
            Ok(_) => self.bad(state, replies::not_implemented()),
            Err(CommandError::Argument(verb)) if has_no_use(*verb) => {
                self.bad(state, replies::not_implemented())
            }
            Err(CommandError::Argument(_)) => self.bad(state, replies::bad_argument()),
            Err(CommandError::NotAscii | CommandError::Unknown) => {
                self.bad(state, replies::unknown_command())
            }
        }
    }

    fn ehlo(&mut self, state: State, name: String) -> Action {
        self.ehlo_name = Some(name);
        // After a login there is no way back to the clear question (RFC 3207 4.2, rule B23).
        let starttls = matches!(
            self.settings.starttls,
            Starttls::Offered | Starttls::Required
        ) && matches!(state, State::Initial { .. });
        // AUTH waits for TLS where TLS is required, ATRN is listed always (rule R8).
        let mechanisms = match self.settings.starttls {
            Starttls::Required => Vec::new(),
            _ => self.offered(),
        };
        let offer = replies::offer(&self.settings.hostname, starttls, &mechanisms);
        self.stay(state, offer)
    }

    /// All or nothing: one domain that is not the customer's refuses the whole request (rule R18).
    fn atrn(&mut self, authenticated: Authenticated, named: Option<DomainList>) -> Action {
        let granted = match &authenticated.identity {
            Identity {
                access: Access::Unknown,
                ..
            } => Err(replies::access_unknown()),
            Identity {
                access: Access::Domains(own),
                ..
            } => grant(own, named).ok_or_else(replies::refused),
        };
        match granted {
            Ok(domains) => {
                let request = Request {
                    user: authenticated.identity.user.clone(),
                    domains,
                };
                self.state = State::Asking(authenticated, request.clone());
                Action::Ask(request)
            }
            Err(reply) => self.stay(State::Authenticated(authenticated), reply),
        }
    }

    /// The queue has answered: the last three steps of the decision, or the turn (rules R19 to R22, R24).
    pub(super) fn decided(
        &mut self,
        authenticated: Authenticated,
        request: Request,
        answer: QueueAnswer,
        pending: bool,
    ) -> Action {
        let reply = match answer {
            QueueAnswer::Mail if pending => {
                return self.bad(State::Authenticated(authenticated), ahead());
            }
            QueueAnswer::Mail => {
                self.state = State::Over;
                let turned = Turned {
                    user: request.user,
                    domains: Some(request.domains),
                    mechanism: Some(authenticated.mechanism),
                    direction: Direction::ToClient,
                };
                return Action::Turn(replies::turn(), turned);
            }
            QueueAnswer::NoMail => replies::no_mail(),
            QueueAnswer::Refused => replies::refused(),
            QueueAnswer::Busy => replies::busy(),
            QueueAnswer::TooSoon => replies::too_soon(),
            QueueAnswer::Unavailable => replies::queue_unavailable(),
        };
        self.stay(State::Authenticated(authenticated), reply)
    }
}

/// The verb, also of a command whose argument is wrong: some verbs are refused before anybody looks at that.
fn verb(command: &Result<Command, CommandError>) -> Option<Verb> {
    match command {
        Ok(command) => Some(command.verb()),
        Err(error) => error.verb(),
    }
}

/// What is in order before TLS where TLS is required; STARTTLS is judged elsewhere (rule B44).
fn is_safe(verb: Option<Verb>) -> bool {
    matches!(verb, Some(Verb::Noop | Verb::Ehlo | Verb::Quit))
}

/// Verbs that are answered 502 whatever follows them (rule R30).
fn has_no_use(verb: Verb) -> bool {
    !matches!(
        verb,
        Verb::Ehlo
            | Verb::Auth
            | Verb::Atrn
            | Verb::Starttls
            | Verb::Noop
            | Verb::Rset
            | Verb::Quit
    )
}

/// The domains that were named, or all of one's own; nothing if any is not one's own, or there are none.
fn grant(own: &[Domain], named: Option<DomainList>) -> Option<DomainList> {
    match named {
        Some(named) => named
            .iter()
            .all(|domain| own.contains(domain))
            .then_some(named),
        None => DomainList::try_new(own.to_vec()),
    }
}

fn ahead() -> Reply {
    replies::out_of_place("Wait for the reply to ATRN before you send more")
}
