//! How a customer logs in: password, certificate, mechanisms, and which of them go together.

use super::error::ConfigError;
use super::keys;
use super::secret::SecretSource;
use super::section::Section;
use super::tls::{ProviderTls, Wishes};
use super::values;
use crate::sasl::Mechanism;

/// The mechanisms for which all is there that they need.
pub(super) fn mechanisms(
    section: &Section<'_>,
    wishes: &Wishes,
    plaintext_without_tls: bool,
    password: bool,
) -> Result<Vec<Mechanism>, ConfigError> {
    let has_tls = wishes.tls != ProviderTls::None;
    let allowed = |mechanism| has_tls || values::allowed_in_clear(mechanism, plaintext_without_tls);
    let mut listed = values::mechanisms(section, &keys::MECHANISMS, allowed)?;
    listed.retain(|mechanism| match mechanism {
        Mechanism::External => wishes.certificate.is_some(),
        other => password && allowed(*other),
    });
    if listed.is_empty() {
        let (cause, advice) = if password {
            ("EXTERNAL needs a certificate", "give certificate and key")
        } else {
            (
                "all it lists need a password",
                "add EXTERNAL, or give password_file",
            )
        };
        return Err(section.error(&keys::MECHANISMS, cause, advice));
    }
    Ok(listed)
}

/// Where the password comes from; whoever has a `certificate` may do without.
pub(super) fn secret(
    section: &Section<'_>,
    certificate: bool,
) -> Result<Option<SecretSource>, ConfigError> {
    let file = section.path(&keys::PASSWORD_FILE)?;
    let command = section.command(&keys::PASSWORD_COMMAND)?;
    match (file, command) {
        (Some(file), None) if section.is_options() && file.as_os_str() == "-" => {
            Ok(Some(SecretSource::StandardInput))
        }
        (Some(file), None) => Ok(Some(SecretSource::File(file))),
        (None, Some(command)) => Ok(Some(SecretSource::Command(command))),
        (Some(_), Some(_)) => Err(section.error(
            &keys::PASSWORD_COMMAND,
            "password_file is given as well",
            "give one of the two",
        )),
        (None, None) if certificate => Ok(None),
        (None, None) => Err(section.error(
            &keys::PASSWORD_FILE,
            "it is missing",
            "give a file with the password, or password_command, or certificate and key",
        )),
    }
}
