//! Requests to the Hub: with the token where it belongs and nowhere else, patient with troubles that pass, and with
//! answers of bounded size.

use super::HubError;
use super::settings::{DEFAULT_ENDPOINT, HubSettings, HubToken, Patience};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::error::Error as _;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use ureq::http::{HeaderValue, Method, Request, Response, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody, Body, SendBody, Timeout};

/// An answer as it came.
pub(super) type Answer = Response<Body>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MOST_REDIRECTS: usize = 5;
/// The description of a repository with 100,000 files fits.
const LONGEST_JSON: u64 = 64 << 20;
const LONGEST_ERROR: u64 = 16 << 10;
/// Before it answers what changes something, the Hub may work for a while; the stall of [`Patience`] times this.
const LONGER_FOR_CHANGES: u32 = 4;
/// How soon a pause notices that it should end.
const TICK: Duration = Duration::from_millis(20);

/// One operation's connections. They end with it, or when it is [stopped](Client::stop).
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    origin: Origin,
    token: Option<HubToken>,
    patience: Patience,
    /// The repository that is asked for, `owner/name`.
    repo: String,
    stopped: AtomicBool,
}

/// Who a URL belongs to: the token is sent to the Hub's own alone.
#[derive(PartialEq, Eq)]
struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        Some(Self { https, host: uri.host()?.to_ascii_lowercase(), port })
    }
}

impl Client {
    /// # Errors
    /// The endpoint is no URL, or the Hub may not be asked at all.
    pub fn new(settings: &HubSettings, patience: &Patience, repo: &str) -> Result<Self, HubError> {
        if settings.offline {
            return Err(HubError::Offline);
        }
        let endpoint = settings.endpoint.trim_end_matches('/').to_owned();
        // A name or password in it would show up in messages.
        let origin = Origin::of(&endpoint).filter(|_| !endpoint.contains('@')).ok_or_else(|| {
            HubError::Invalid(domain::error::UserError::invalid(
                "HF_ENDPOINT is no address of a Hub. Write it like https://hub.example, without name or password.",
            ))
        })?;
        let tls = TlsConfig::builder()
            // What the machine's administrator trusts, a company's own Hub for one.
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .user_agent(concat!("ayar/", env!("CARGO_PKG_VERSION")))
            // Both are ours to look at: where the token goes, and what a refusal says.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_write(Some(patience.stall))
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            endpoint,
            origin,
            token: settings.token.clone(),
            patience: patience.clone(),
            repo: repo.to_owned(),
            stopped: AtomicBool::new(false),
        })
    }

    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The page of the Hub at `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoint)
    }

    /// Where access tokens are made.
    pub fn token_page(&self) -> String {
        self.url("/settings/tokens")
    }

    /// Breaks every connection, from any thread; whoever waits for one gets an error at once.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.agent.clone().shutdown();
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Waits, unless stopped meanwhile.
    pub fn pause(&self, duration: Duration) -> Result<(), HubError> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            if self.is_stopped() {
                return Err(HubError::Stopped);
            }
            std::thread::sleep(TICK.min(duration));
        }
        Ok(())
    }

    /// How long to wait before the attempt after `failures` failed ones.
    pub fn pause_after(&self, failures: u32) -> Duration {
        self.patience.pause * 2_u32.saturating_pow(failures.saturating_sub(1).min(6))
    }

    /// Tries again as often as patience lasts while the failure may pass.
    pub fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T, HubError>) -> Result<T, HubError> {
        let mut failures = 0;
        loop {
            match attempt() {
                Err(_) if self.is_stopped() => return Err(HubError::Stopped),
                Err(error) if error.is_passing() && failures < self.patience.retries => {
                    failures += 1;
                    self.pause(self.pause_after(failures))?;
                }
                result => return result,
            }
        }
    }

    /// The JSON that the Hub keeps at `path`; `what` names it in errors.
    pub fn get_json<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<T, HubError> {
        self.patiently(|| {
            let answer = self.get(&self.url(path), &[])?;
            self.json(self.accepted(answer, what)?)
        })
    }

    /// As [`Client::post`], and reads the JSON that comes back; `what` names it in errors.
    pub fn post_json<T: DeserializeOwned>(
        &self,
        url: &str,
        content_type: &str,
        body: &[u8],
        what: &str,
    ) -> Result<T, HubError> {
        let answer = self.post(url, content_type, body)?;
        self.json(self.accepted(answer, what)?)
    }

    /// Sends `body`, once: what was asked for may have been done even where the answer got lost.
    pub fn post(&self, url: &str, content_type: &str, body: &[u8]) -> Result<Answer, HubError> {
        let headers = [("content-type", content_type), ("accept", accepts(content_type))];
        self.follow(&Method::POST, url, &headers, Some(body))
    }

    /// The answer to a GET, whatever its status, behind all redirects.
    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, HubError> {
        self.follow(&Method::GET, url, headers, None)
    }

    /// As [`Client::get`], without the content.
    pub fn head(&self, url: &str) -> Result<Answer, HubError> {
        self.follow(&Method::HEAD, url, &[], None)
    }

    /// Sends `bytes` bytes from `reader`, once, to where the Hub wants an object stored.
    pub fn put(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        reader: &mut dyn Read,
        bytes: u64,
    ) -> Result<Answer, HubError> {
        let length = bytes.to_string();
        let mut headers = headers.to_vec();
        headers.push(("content-length", &length));
        let request = self.request(&Method::PUT, url, &headers)?;
        self.run(request, SendBody::from_reader(reader))
    }

    /// Turns an answer that is a refusal into an error; `what` names what was asked for.
    pub fn accepted(&self, mut answer: Answer, what: &str) -> Result<Answer, HubError> {
        let status = answer.status().as_u16();
        if answer.status().is_success() {
            return Ok(answer);
        }
        let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(shown);
        let (code, told) = (text("x-error-code").unwrap_or_default(), text("x-error-message"));
        let gated = code == "GatedRepo";
        Err(match status {
            401 if self.token.is_some() && !gated => HubError::TokenInvalid { url: self.token_page() },
            401 => HubError::TokenMissing { what: what.to_owned(), url: self.token_page() },
            403 if gated => {
                HubError::LicenceNotAccepted { repo: self.repo.clone(), url: self.url(&format!("/{}", self.repo)) }
            }
            404 if code == "RevisionNotFound" => HubError::NotFound(format!(
                "The repository is there, but {what} is not: it has no such branch, tag or commit."
            )),
            404 if code == "EntryNotFound" => HubError::NotFound(format!("{what} is not in the repository.")),
            404 => HubError::NotFound(format!(
                "The Hub has no {what}, or it is a private one that this token may not see. Check the spelling."
            )),
            429 | 500..=599 => HubError::Trouble { endpoint: self.endpoint.clone(), status },
            300..=399 => self.bad_answer("it redirects again and again"),
            _ => {
                let message = told.or_else(|| error_in_body(&mut answer)).unwrap_or_else(|| "no reason given".into());
                HubError::Refused { status, message }
            }
        })
    }

    pub fn json<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, HubError> {
        let bytes = self.read(answer, LONGEST_JSON)?;
        serde_json::from_slice(&bytes).map_err(|error| self.bad_answer(format!("its JSON is not as expected, {error}")))
    }

    /// The content of an answer, which is at most `limit` bytes long.
    pub fn read(&self, mut answer: Answer, limit: u64) -> Result<Vec<u8>, HubError> {
        let mut bytes = Vec::new();
        let mut reader = answer.body_mut().as_reader().take(limit + 1);
        reader.read_to_end(&mut bytes).map_err(|error| self.broken(&error))?;
        if bytes.len() as u64 > limit {
            return Err(self.bad_answer(format!("it sends more than {limit} bytes where little is expected")));
        }
        Ok(bytes)
    }

    pub fn bad_answer(&self, reason: impl Into<String>) -> HubError {
        HubError::BadAnswer { endpoint: self.endpoint.clone(), reason: reason.into() }
    }

    /// A connection that broke while content came or went.
    pub fn broken(&self, error: &io::Error) -> HubError {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
        let reason = match inner {
            Some(inner) => in_words(inner),
            None => format!("the connection broke ({error})"),
        };
        HubError::Network { endpoint: self.endpoint.clone(), reason }
    }

    /// A mirror may hand out the addresses of the Hub that it mirrors; it is the mirror that they are meant for.
    pub fn own_url(&self, url: &str) -> String {
        match url.strip_prefix(DEFAULT_ENDPOINT) {
            Some(path) if path.starts_with('/') => self.url(path),
            _ => url.to_owned(),
        }
    }

    fn follow(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, HubError> {
        let mut url = url.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let request = self.request(method, &url, headers)?;
            let answer = match body {
                Some(body) => self.run(request, body)?,
                None => self.run(request, ())?,
            };
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let location = location.ok_or_else(|| self.bad_answer("it redirects to nowhere"))?;
            url = self.redirected(&url, location)?;
        }
        Err(self.bad_answer("it redirects again and again"))
    }

    fn redirected(&self, from: &str, location: &str) -> Result<String, HubError> {
        if location.starts_with('/') && !location.starts_with("//") {
            let host_begin = from.find("://").map_or(0, |at| at + 3);
            let host_end = from[host_begin..].find('/').map_or(from.len(), |at| host_begin + at);
            return Ok(format!("{}{location}", &from[..host_end]));
        }
        match Origin::of(location) {
            // Whoever listens on the way could then change what comes.
            Some(to) if self.origin.https && !to.https => Err(self.bad_answer("it redirects from https to http")),
            Some(_) => Ok(location.to_owned()),
            None => Err(self.bad_answer("it redirects to what is no address")),
        }
    }

    fn request(&self, method: &Method, url: &str, headers: &[(&str, &str)]) -> Result<Request<()>, HubError> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token
            && Origin::of(url).is_some_and(|origin| origin == self.origin)
        {
            let mut value = HeaderValue::from_str(&token.as_bearer())
                .map_err(|_| HubError::TokenInvalid { url: self.token_page() })?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(()).map_err(|_| self.bad_answer("it hands out an address that cannot be used"))
    }

    fn run(&self, request: Request<()>, body: impl AsSendBody) -> Result<Answer, HubError> {
        if self.is_stopped() {
            return Err(HubError::Stopped);
        }
        let changes = matches!(*request.method(), Method::POST | Method::PUT);
        let wait = if changes { self.patience.stall * LONGER_FOR_CHANGES } else { self.patience.stall };
        let (parts, ()) = request.into_parts();
        let request = self.agent.configure_request(Request::from_parts(parts, body));
        let request = request.timeout_recv_response(Some(wait)).timeout_per_read(Some(wait)).build();
        let network = |error| HubError::Network { endpoint: self.endpoint.clone(), reason: in_words(&error) };
        self.agent.run(request).map_err(network)
    }
}

/// The error's own words may quote the address that was asked, which can be a secret; these do not.
fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(Timeout::Resolve) => "its name was not resolved in time".to_owned(),
        ureq::Error::Timeout(Timeout::Connect) => "it does not answer".to_owned(),
        ureq::Error::Timeout(_) => "for too long nothing came".to_owned(),
        ureq::Error::HostNotFound => "its name is not known; is there a network".to_owned(),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "nothing listens there".to_owned()
        }
        // What rustls finds wrong comes as an error of reading, too.
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            format!("there is no secure connection to it ({error})")
        }
        ureq::Error::Io(error) => format!("there is no connection to it, or it broke ({error})"),
        ureq::Error::Rustls(error) => format!("there is no secure connection to it ({error})"),
        ureq::Error::Tls(reason) => format!("there is no secure connection to it ({reason})"),
        ureq::Error::Protocol(_) => "what it sends is not HTTP, or the connection broke".to_owned(),
        ureq::Error::InvalidProxyUrl => "the proxy that the environment names is no address".to_owned(),
        other => match other.source() {
            Some(source) => format!("the connection failed ({source})"),
            None => "the connection failed".to_owned(),
        },
    }
}

/// The part of a URL's path that stands for `text`, its slashes included.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Git LFS wants its own type both ways; everything else comes back as JSON.
fn accepts(content_type: &str) -> &str {
    if content_type.ends_with("+json") { content_type } else { "application/json" }
}

fn error_in_body(answer: &mut Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Told {
        error: String,
    }
    let mut bytes = Vec::new();
    answer.body_mut().as_reader().take(LONGEST_ERROR).read_to_end(&mut bytes).ok()?;
    let told: Told = serde_json::from_slice(&bytes).ok()?;
    Some(shown(&told.error))
}

/// A server's words, fit to stand in ours.
fn shown(text: &str) -> String {
    text.chars().take(300).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_with_its_slashes() {
        assert_eq!(encoded("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(encoded("a b+ä.gguf"), "a%20b%2B%C3%A4.gguf");
    }

    #[test]
    fn the_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| Origin::of(a) == Origin::of(b);
        assert!(same("https://Hub.example", "https://hub.example:443/x?y"));
        assert!(!same("https://hub.example", "http://hub.example"));
        assert!(!same("https://hub.example", "https://hub.example.evil.example"));
        assert!(!same("https://hub.example", "https://hub.example@evil.example"));
        assert!(!same("http://127.0.0.1:1", "http://127.0.0.1:2"));
        assert!(Origin::of("file:///etc/passwd").is_none() && Origin::of("/x").is_none());
    }
}
