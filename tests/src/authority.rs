//! Certificates of a test's own, made by openssl: an authority, and what it signs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::proxy::TempDir;

/// An authority that exists for one test.
pub struct Authority {
    dir: TempDir,
    name: String,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one, of that name.
    pub fn new(name: &str) -> Self {
        let made = Self { dir: TempDir::new(), name: name.to_owned() };
        let settings =
            made.settings("authority", "basicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign, cRLSign");
        made.request(&settings, name, &made.key(), &made.cert(), &[]);
        made
    }

    /// Its certificate.
    pub fn cert(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A certificate for `names` as openssl writes them: `DNS:localhost, IP:127.0.0.1`, `URI:spiffe://…`.
    pub fn issue(&self, file: &str, names: &str) -> Issued {
        let usage = "keyUsage = digitalSignature\nextendedKeyUsage = serverAuth, clientAuth";
        self.sign(file, file, &format!("basicConstraints = CA:FALSE\nsubjectAltName = {names}\n{usage}"))
    }

    /// A client's certificate, of that common name: how PostgreSQL knows a user by one.
    pub fn issue_to(&self, file: &str, common_name: &str) -> Issued {
        self.sign(file, common_name, "basicConstraints = CA:FALSE\nextendedKeyUsage = clientAuth")
    }

    /// An authority below this one.
    pub fn issue_authority(&self, file: &str) -> Issued {
        self.sign(file, file, "basicConstraints = critical, CA:TRUE")
    }

    /// A certificate for `names` that is valid between two days, such as `20200101` and `20200102`, or times of a day: `20200101093000`.
    pub fn issue_between(&self, file: &str, names: &str, from: &str, to: &str) -> Issued {
        let extensions = format!("basicConstraints = CA:FALSE\nsubjectAltName = {names}");
        let issued = Issued { cert: self.dir.join(&format!("{file}.pem")), key: self.dir.join(&format!("{file}.key")) };
        let settings = self.settings(file, &extensions);
        let request = self.dir.join(&format!("{file}.csr"));
        let asking = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let whose = ["-subj".to_owned(), format!("/CN={file}")];
        let files = [("-config", &settings), ("-keyout", &issued.key), ("-out", &request)];
        self.openssl(&asking, &whose, &files);
        let (from, to) = (format!("{from:0<14}Z"), format!("{to:0<14}Z"));
        let dates = ["-startdate".to_owned(), from, "-enddate".to_owned(), to];
        let files = [("-config", &settings), ("-in", &request), ("-out", &issued.cert)];
        self.openssl(&["ca", "-batch", "-notext", "-extensions", "its"], &dates, &files);
        issued
    }

    /// A list of what it has revoked: that certificate.
    pub fn revoke(&self, issued: &Issued) -> PathBuf {
        let (settings, list) = (self.settings("revocation", ""), self.dir.join("crl.pem"));
        self.openssl(&["ca"], &[], &[("-config", &settings), ("-revoke", &issued.cert)]);
        self.openssl(&["ca", "-gencrl", "-crldays", "2"], &[], &[("-config", &settings), ("-out", &list)]);
        list
    }

    fn openssl(&self, arguments: &[&str], more: &[String], files: &[(&str, &PathBuf)]) {
        let mut command = Command::new("openssl");
        command.args(arguments).args(more);
        for (name, file) in files {
            command.arg(name).arg(file);
        }
        let made = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().expect("openssl is there");
        assert!(made.status.success(), "openssl, for {}: {}", self.name, String::from_utf8_lossy(&made.stderr));
    }

    fn sign(&self, file: &str, common_name: &str, extensions: &str) -> Issued {
        let settings = self.settings(file, extensions);
        let issued = Issued { cert: self.dir.join(&format!("{file}.pem")), key: self.dir.join(&format!("{file}.key")) };
        let (cert, key) = (self.cert(), self.key());
        let by = ["-CA".as_ref(), cert.as_os_str(), "-CAkey".as_ref(), key.as_os_str()];
        self.request(&settings, common_name, &issued.key, &issued.cert, &by);
        issued
    }

    fn settings(&self, file: &str, extensions: &str) -> PathBuf {
        let path = self.dir.join(&format!("{file}.cnf"));
        let database = self.dir.join("issued");
        if !database.exists() {
            fs::write(&database, "").expect("begin openssl's list");
        }
        let text = format!(
            "[req]\ndistinguished_name = name\nx509_extensions = its\n[name]\n[its]\n{extensions}\n[ca]\ndefault_ca = us\n[us]\n\
             database = {}\nnew_certs_dir = {}\ncertificate = {}\nprivate_key = {}\nrand_serial = yes\ndefault_md = sha256\n\
             policy = any\nunique_subject = no\ncrl_extensions = listed\n[listed]\nauthorityKeyIdentifier = keyid\n[any]\ncommonName = supplied\n",
            database.display(),
            self.dir.join("").display(),
            self.cert().display(),
            self.key().display(),
        );
        fs::write(&path, text).expect("write openssl's settings");
        path
    }

    fn request(&self, settings: &Path, common_name: &str, key: &Path, cert: &Path, by: &[&std::ffi::OsStr]) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", &format!("/CN={common_name}"), "-config"])
            .arg(settings)
            .arg("-keyout")
            .arg(key)
            .arg("-out")
            .arg(cert)
            .args(by)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .expect("openssl is there");
        assert!(made.status.success(), "openssl, for {}: {}", self.name, String::from_utf8_lossy(&made.stderr));
    }
}
