//! A PostgreSQL that speaks TLS on loopback, and asks for a password.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{
    authority::{Authority, Issued},
    net::free_addr,
    postgres::{Postgres, give_away},
};

/// The user whom [`start`] knows.
pub const USER: &str = "mainstay";

/// A fresh server with that certificate, and where it is; `clients` signs the certificates that it wants of its clients.
pub fn start(own: &Issued, clients: Option<&Authority>) -> Option<(Postgres, u16)> {
    let port = free_addr().port();
    let wanted = clients.map_or("", |_| " clientcert=verify-full");
    let settings = [
        "listen_addresses=127.0.0.1",
        "ssl=on",
        "ssl_cert_file=own.pem",
        "ssl_key_file=own.key",
        "password_encryption=scram-sha-256",
    ];
    let more = settings.iter().copied().chain(clients.map(|_| "ssl_ca_file=clients.pem"));
    let more = more.flat_map(|setting| ["-c".to_owned(), setting.to_owned()]).collect();
    let server = Postgres::start_with(port, more, |data| {
        place(own, data);
        if let Some(clients) = clients {
            fs::copy(clients.cert(), data.join("clients.pem")).expect("copy the authority");
            give_away(&data.join("clients.pem"));
        }
        let hba = format!("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256{wanted}\n");
        fs::write(data.join("pg_hba.conf"), hba).expect("say who may come in");
    })?;
    Some((server, port))
}

/// Gives a running server another certificate.
pub fn replace(server: &Postgres, own: &Issued) {
    place(own, &server.data());
    server.sql("SELECT pg_reload_conf()");
}

fn place(own: &Issued, data: &Path) {
    for (from, to) in [(&own.cert, "own.pem"), (&own.key, "own.key")] {
        let to = data.join(to);
        fs::copy(from, &to).expect("copy a certificate");
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("its mode");
        give_away(&to);
    }
}
