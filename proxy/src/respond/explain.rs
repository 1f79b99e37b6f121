//! What each failure is called, and what is said about it.

use mainstay_policies::problem::Problem;

/// What a problem means, and what its receiver should do.
pub(crate) const fn explain(problem: Problem) -> (&'static str, &'static str) {
    of_the_request(problem)
}

/// What is wrong with the request, or with who sends it.
const fn of_the_request(problem: Problem) -> (&'static str, &'static str) {
    match problem {
        Problem::NoRoute => ("Nothing is served under this host, path and method.", "Check the address."),
        Problem::OperationNotFound => (
            "There is no operation by this name or key, or it is another caller's.",
            "Check the address, and that you ask as the caller who sent the write. An operation is forgotten some time after \
             it was settled.",
        ),
        Problem::MethodNotAllowed => (
            "This address of the proxy exists and takes other methods. Nothing was sent to the service.",
            "Use one of the methods that the header Allow names.",
        ),
        Problem::UnsupportedMediaType => (
            "The body of this request is of a type that is not read here. Nothing was changed.",
            "Send it as application/json, and say so in Content-Type.",
        ),
        Problem::Forbidden => (
            "An access list refuses this caller, method or path. Nothing was sent to the service.",
            "Ask the operator for access.",
        ),
        Problem::EgressDenied => (
            "No route leads from this proxy to what was asked for. Nothing was sent.",
            "Add a route for that host to the listener, or allow a tunnel to it with connect.allow.",
        ),
        Problem::PrincipalMissing => (
            "This route needs to know the caller, and the request does not say. Nothing was sent to the service.",
            "Send the request through the front that identifies callers.",
        ),
        Problem::BadRequest => (
            "The request is not valid: its framing, its header fields, its method here, or its parameters. Nothing was \
             sent to the service.",
            "Correct the request; the detail says what was wrong.",
        ),
        Problem::BodyTooLarge => (
            "A keyed write is read whole before it is sent, and this one is larger than allowed. Nothing was sent to the \
             service.",
            "Send a smaller body, or ask the operator to raise idempotency.max_body.",
        ),
        Problem::KeyMissing => (
            "Writes on this route need an idempotency key, and the request had none. Nothing was sent to the service.",
            "Send a fresh UUID as key with each new write, and the same key with each repeat of it.",
        ),
        Problem::KeyInvalid => (
            "The idempotency key cannot be read. Nothing was sent to the service.",
            "Send one key of 1 to 255 printable ASCII characters in double quotes; the detail says what was wrong.",
        ),
        Problem::KeyAmbiguous => {
            ("More than one upstream has an operation with this key.", "Name one of them: &upstream=NAME.")
        }
        _ => of_the_write(problem),
    }
}

/// What stands against this key.
const fn of_the_write(problem: Problem) -> (&'static str, &'static str) {
    match problem {
        Problem::KeyReused => (
            "The idempotency key belongs to a request with another method, host, path or content. This request was not sent to \
             the service.",
            "Use a fresh key for a new write. To repeat the first one, send it unchanged.",
        ),
        Problem::CallerDiffers => (
            "The idempotency key belongs to a write that came with other credentials. This request was neither answered from \
             its record nor sent to the service.",
            "Repeat a write with the credentials of its first request, and use a fresh key for a new write. Where tokens are \
             renewed between repeats, the operator declares how callers are known (principal).",
        ),
        Problem::WriteFailed => (
            "The service decided against the write under this key; what it answered is not known. This repeat was not sent \
             to the service.",
            "The write did not happen. To try again, send a new write with a fresh key.",
        ),
        Problem::KeyExpired => (
            "The write under this key was settled, and its answer is no longer kept. This request was not sent again.",
            "Read the operation for its outcome. Use a fresh key for a new write.",
        ),
        Problem::InProgress => (
            "The first request with this key is still in flight. This repeat was not sent to the service.",
            "Repeat with the same key after Retry-After, or send Prefer: wait=N, or read the operation.",
        ),
        Problem::OutcomeUnknown => (
            "The request may have reached the service, and no answer proves what became of it. The write may or may not \
             have happened.",
            "Do not repeat it with a new key: that could do it twice. Read the operation until it is settled, or repeat \
             with the same key, which never does it twice.",
        ),
        Problem::ResponseNotRetained => (
            "The write was done and answered, and the answer was streamed or too large to keep. This repeat was not sent \
             to the service.",
            "Read the result from the service itself. The first answer's status is in the operation.",
        ),
        _ => of_the_service(problem),
    }
}

/// What keeps the service, or this proxy, from answering.
const fn of_the_service(problem: Problem) -> (&'static str, &'static str) {
    match problem {
        Problem::LedgerUnavailable => (
            "Keyed writes are recorded before they are sent, and the record cannot be written at the moment. Nothing was \
             sent to the service.",
            "Repeat with the same key after Retry-After.",
        ),
        Problem::RateLimited => (
            "Too many requests in too short a time. Nothing was sent to the service.",
            "Repeat after Retry-After, with the same key if there was one.",
        ),
        Problem::Overloaded => (
            "Too many requests are in flight. Nothing was sent to the service.",
            "Repeat after Retry-After, with the same key if there was one.",
        ),
        Problem::CircuitOpen => (
            "The service has been failing, and calls to it are paused so that it can recover. Nothing was sent to it.",
            "Repeat after Retry-After, with the same key if there was one.",
        ),
        Problem::Timeout => (
            "The service did not answer in time. The member effect says whether it may have acted.",
            "If effect is none, repeat freely. If it is unknown, find out first whether the request was carried out.",
        ),
        Problem::Loop => (
            "The request came back to the proxy that had sent it on, by its name in Via. It was not sent to the service again.",
            "Whoever runs this proxy points its upstream at the service, not at a way that leads back here.",
        ),
        Problem::UpstreamUnreachable => (
            "No connection to the service could be made. Nothing was sent to it.",
            "Repeat after a while, with the same key if there was one.",
        ),
        Problem::UpstreamError => (
            "The connection to the service broke, or the service answered with something that is not HTTP. The member \
             effect says whether it may have acted.",
            "If effect is none, repeat freely. If it is unknown, find out first whether the request was carried out.",
        ),
        Problem::Draining => (
            "This proxy is shutting down: the service behind it has ended already, or the request was not answered when \
             the time for that was over. It changed nothing at the service.",
            "Repeat at once: another instance will answer.",
        ),
        // Every problem is in one of the three; the test below looks.
        _ => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_says_what_to_do() {
        for problem in Problem::ALL {
            let (meaning, cure) = explain(*problem);
            assert!(meaning.ends_with('.') && cure.ends_with('.'), "{problem:?}");
        }
    }
}
