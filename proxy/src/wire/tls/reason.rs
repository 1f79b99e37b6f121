//! Why a handshake failed, in words that name the cure.

use std::{error::Error as StdError, fmt::Write as _, io};

use rustls::{AlertDescription, CertificateError, Error, OtherError};

/// What TLS says is wrong, somewhere in a chain of errors.
pub fn of_io<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        // An input or output error stands for what it holds, and leaves it out of the chain.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// What is wrong, and with whom.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => of_theirs(why),
        Error::AlertReceived(alert) if is_about_ours(*alert) => {
            format!(
                "the peer refuses our certificate ({alert:?}): see that `cert_file` is there, and is from an authority that it trusts"
            )
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(_) => format!("no common protocol ({error}): see `min_version` on both sides"),
        error => error.to_string(),
    }
}

fn of_theirs(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "its certificate is from no authority that is trusted here: name its authority in `ca_file`".to_owned()
        }
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let mut text = format!("its certificate is not for `{}`", expected.to_str());
            if presented.is_empty() {
                text += ", and names nobody: a common name without a subject alternative name does not count";
            } else {
                // Each is told as `DnsName("db.example")`.
                let names: Vec<_> = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
                let _ = write!(text, ", but for {}", names.join(", "));
            }
            text
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate has expired ({why})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet ({why}): see the clocks of both sides")
        }
        CertificateError::Other(OtherError(why)) => why.to_string(),
        why => format!("its certificate is refused: {why}"),
    }
}

/// The one word for what is wrong, from a bounded set: for metrics and logs.
pub fn word(error: &Error) -> &'static str {
    use CertificateError as Bad;
    match error {
        Error::InvalidCertificate(why) => match why {
            // Of another authority that has the name of one of ours.
            Bad::UnknownIssuer | Bad::BadSignature => "unknown_ca",
            Bad::Expired | Bad::ExpiredContext { .. } => "expired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "not_yet_valid",
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "wrong_name",
            Bad::Revoked => "revoked",
            Bad::Other(_) => "wrong_identity",
            _ => "bad_certificate",
        },
        Error::NoCertificatesPresented => "no_certificate",
        Error::AlertReceived(AlertDescription::CertificateRequired) => "certificate_required",
        Error::AlertReceived(alert) if is_about_ours(*alert) => "certificate_refused",
        _ => "protocol",
    }
}

/// Whether a peer says by it that it does not take our certificate, or misses one.
pub fn is_about_ours(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}
