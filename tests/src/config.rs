//! Configuration files for tests, from short pieces of YAML flow syntax.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::net::free_addr;

/// A configuration under construction, with the addresses it will listen on.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data listener.
    pub data: SocketAddr,
    /// The probes listener.
    pub probes: SocketAddr,
    /// The operators' listener, if there is one.
    pub admin: Option<SocketAddr>,
    /// More settings of the probes listener, such as `, ready: { ledger: never }`.
    pub probes_more: String,
    token_file: Option<PathBuf>,
    admin_more: String,
    listener: String,
    /// Listeners beside that one: name, address, more settings.
    others: Vec<(String, SocketAddr, String)>,
    /// The same at Unix sockets.
    locals: Vec<(String, PathBuf, String)>,
    upstreams: Vec<String>,
    routes: Vec<String>,
    policies: Vec<String>,
    top: Vec<String>,
}

impl Config {
    /// Only listeners on free addresses and a ledger in memory.
    pub fn new() -> Self {
        Self {
            data: free_addr(),
            probes: free_addr(),
            admin: None,
            probes_more: String::new(),
            token_file: None,
            admin_more: String::new(),
            listener: String::new(),
            others: Vec::new(),
            locals: Vec::new(),
            upstreams: Vec::new(),
            routes: Vec::new(),
            policies: Vec::new(),
            top: vec!["ledger: { store: memory }".to_owned()],
        }
    }

    /// Everything goes to one upstream `app` under one policy `p`.
    pub fn single(upstream: SocketAddr, policy: &str) -> Self {
        Self::new().upstream("app", upstream, "").policy("p", policy).route("path: /**", "app", "p")
    }

    /// Adds an upstream with one endpoint and more settings, such as `honours_key: true`.
    #[must_use]
    pub fn upstream(self, name: &str, endpoint: SocketAddr, more: &str) -> Self {
        self.endpoints(name, &[endpoint], more)
    }

    /// Adds an upstream with several endpoints.
    #[must_use]
    pub fn endpoints(mut self, name: &str, endpoints: &[SocketAddr], more: &str) -> Self {
        let list: Vec<_> = endpoints.iter().map(|addr| format!("\"http://{addr}\"")).collect();
        let separator = if more.is_empty() { "" } else { ", " };
        self.upstreams.push(format!("  {name}: {{ endpoints: [{}]{separator}{more} }}", list.join(", ")));
        self
    }

    /// Adds an upstream whose one endpoint is written out, such as `https://localhost:8443`, and more settings.
    #[must_use]
    pub fn upstream_at(mut self, name: &str, endpoint: &str, more: &str) -> Self {
        let separator = if more.is_empty() { "" } else { ", " };
        self.upstreams.push(format!("  {name}: {{ endpoints: [\"{endpoint}\"]{separator}{more} }}"));
        self
    }

    /// Adds a policy.
    #[must_use]
    pub fn policy(mut self, name: &str, rules: &str) -> Self {
        self.policies.push(format!("  {name}: {{ {rules} }}"));
        self
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, matches: &str, upstream: &str, policy: &str) -> Self {
        self.routes.push(format!("  - {{ match: {{ {matches} }}, upstream: {upstream}, policy: {policy} }}"));
        self
    }

    /// Adds a route before the others.
    #[must_use]
    pub fn first_route(mut self, matches: &str, upstream: &str, policy: &str) -> Self {
        let text = format!("  - {{ match: {{ {matches} }}, upstream: {upstream}, policy: {policy} }}");
        self.routes.insert(0, text);
        self
    }

    /// Adds settings of the data listener, such as `trust_deadline: true`.
    #[must_use]
    pub fn listener(mut self, more: &str) -> Self {
        self.listener.extend([", ", more]);
        self
    }

    /// Adds a listener on loopback, with settings such as `direction: outbound`.
    #[must_use]
    pub fn also_listener(mut self, name: &str, settings: &str) -> Self {
        self.others.push((name.to_owned(), free_addr(), settings.to_owned()));
        self
    }

    /// Adds a listener at a Unix socket, with settings such as `direction: outbound`.
    #[must_use]
    pub fn local_listener(mut self, name: &str, path: &Path, settings: &str) -> Self {
        self.locals.push((name.to_owned(), path.to_owned(), settings.to_owned()));
        self
    }

    /// Where a listener is that was added.
    pub fn address_of(&self, name: &str) -> SocketAddr {
        let found = self.others.iter().find(|(other, ..)| other == name);
        found.unwrap_or_else(|| panic!("no listener {name}")).1
    }

    /// Adds top-level text, such as `limits: { header_timeout: 1s }`.
    #[must_use]
    pub fn top(mut self, text: &str) -> Self {
        self.top.push(text.to_owned());
        self
    }

    /// Replaces the ledger's settings.
    #[must_use]
    pub fn ledger(mut self, settings: &str) -> Self {
        self.top.retain(|text| !text.starts_with("ledger:"));
        self.top(&format!("ledger: {{ {settings} }}"))
    }

    /// Adds the operators' listener.
    #[must_use]
    pub fn admin(mut self) -> Self {
        self.admin = Some(free_addr());
        self
    }

    /// Adds the operators' listener behind a token.
    #[must_use]
    pub fn admin_with(self, token_file: &Path) -> Self {
        Self { token_file: Some(token_file.to_owned()), ..self.admin() }
    }

    /// Adds settings of the operators' listener, such as `reveal: true`.
    #[must_use]
    pub fn admin_more(mut self, more: &str) -> Self {
        self.admin_more.extend([", ", more]);
        self
    }

    /// New addresses, for a second try after somebody else took one.
    pub fn move_away(&mut self) {
        self.data = free_addr();
        self.probes = free_addr();
        self.admin = self.admin.map(|_| free_addr());
        self.others.iter_mut().for_each(|(_, address, _)| *address = free_addr());
    }

    /// The file.
    pub fn render(&self) -> String {
        let mut out = format!(
            "probes: {{ address: \"{}\"{} }}\nlisteners:\n  inbound: {{ address: \"{}\"{} }}\n",
            self.probes, self.probes_more, self.data, self.listener
        );
        for (name, address, settings) in &self.others {
            let _ = writeln!(out, "  {name}: {{ address: \"{address}\", {settings} }}");
        }
        for (name, path, settings) in &self.locals {
            let separator = if settings.is_empty() { "" } else { ", " };
            let _ = writeln!(out, "  {name}: {{ address: \"unix:{}\"{separator}{settings} }}", path.display());
        }
        let admin = match (self.admin, &self.token_file) {
            // Many proxies run at once here, and only one of them could have the default address.
            (None, _) => "admin: off\n".to_owned(),
            (Some(admin), None) => format!("admin: {{ address: \"{admin}\"{} }}\n", self.admin_more),
            (Some(admin), Some(file)) => {
                format!("admin: {{ address: \"{admin}\", token_file: \"{}\"{} }}\n", file.display(), self.admin_more)
            }
        };
        out.push_str(&admin);
        for (title, lines) in [("upstreams", &self.upstreams), ("routes", &self.routes), ("policies", &self.policies)] {
            if !lines.is_empty() {
                out.extend([title, ":\n", &lines.join("\n"), "\n"]);
            }
        }
        out + &self.top.join("\n") + "\n"
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}
