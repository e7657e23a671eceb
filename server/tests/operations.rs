//! The server as those see it who run it: readiness, metrics, request ids, names, TLS, slow clients, configuration.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

struct Server {
    child: Child,
    address: String,
    folder: TempDir,
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("site/pkg");
    fs::create_dir_all(&package).unwrap();
    for name in ["app.js", "app.wasm", "app.css"] {
        fs::write(package.join(name), "").unwrap();
    }
    folder
}

fn ayar(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ayar"));
    command
        .args(arguments)
        .env("AYAR_SAMPLE", "none")
        .env("AYAR_DEVICE", "cpu")
        .env("AYAR_DATA_DIR", folder.path().join("data"))
        .env("AYAR_SITE_ROOT", folder.path().join("site"))
        .env("AYAR_BASE_MODEL", Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/base/tohum-16m.gguf"));
    command
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::start_in(folder(), arguments)
    }

    fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut child = ayar(&folder, &["serve", "--addr", "127.0.0.1:0"])
            .args(arguments)
            .env("AYAR_LOG", "debug,hyper=warn,rustls=warn,h2=warn,sqlx=warn")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().split_once("://").expect("it says where it runs").1.to_string();
        Self { child, address, folder }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// Status, head in lower case, body.
    fn get(&self, path: &str, headers: &str) -> (u16, String, String) {
        exchange(self.connect(), &self.address, path, headers)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn exchange(mut stream: impl Read + Write, host: &str, path: &str, headers: &str) -> (u16, String, String) {
    let host = if headers.to_lowercase().contains("host:") { String::new() } else { format!("host: {host}\r\n") };
    let request = format!("GET {path} HTTP/1.1\r\n{host}{headers}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_string())
}

#[test]
fn readiness_metrics_and_request_ids() {
    let server = Server::start(&["--metrics-token", "purple-tram", "--log-format", "json"]);
    assert_eq!(server.get("/healthz", "").0, 200);
    let (status, _, words) = server.get("/readyz", "");
    assert_eq!((status, words.as_str()), (200, "ready\n"));

    let (status, head, _) = server.get("/healthz", "x-request-id: from-afar.7\r\n");
    assert!(status == 200 && head.contains("x-request-id: from-afar.7"), "{head}");
    let (_, head, _) = server.get("/nowhere", "x-request-id: not \"plain\"\r\n");
    let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap().trim();
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("from-afar.7")).expect("the log names the request");
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["span"]["id"], "from-afar.7");
    assert_eq!((&line["route"], &line["status"]), (&"/healthz".into(), &200.into()));

    // What stands in an address may be a key: the log knows the route alone.
    server.get("/demo/tram-token-nine", "");
    server.get("/healthz?secret=tram-query-nine", "");
    assert!(!server.log().contains("tram-token-nine") && !server.log().contains("tram-query-nine"));

    let (status, head, text) = server.get("/metrics", "");
    assert!(status == 200 && head.contains("application/openmetrics-text"), "{head}");
    for line in [
        "ayar_http_requests_total{route=\"/healthz\",method=\"GET\",status=\"200\"} 3",
        "ayar_http_request_seconds_count{route=\"/demo/{token}\"} 1",
        "ayar_queue_length 0",
        "ayar_runs{status=\"finished\"} 0",
        "ayar_websocket_viewers 0",
        "ayar_build{version=",
        "ayar_data_disk_free_bytes ",
        "ayar_process_resident_bytes ",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let proxied = "x-forwarded-for: 192.0.2.7\r\n";
    assert_eq!(server.get("/metrics", proxied).0, 403);
    assert_eq!(server.get("/metrics", &format!("{proxied}authorization: Bearer purple-tran\r\n")).0, 403);
    assert_eq!(server.get("/metrics", &format!("{proxied}authorization: Bearer purple-tram\r\n")).0, 200);
    assert!(!server.log().contains("purple-tra"));

    fs::rename(server.folder.path().join("data"), server.folder.path().join("gone")).unwrap();
    let (status, _, words) = server.get("/readyz", "");
    assert_eq!(status, 503);
    assert!(words.contains("data folder cannot be written"), "{words}");
    assert_eq!(server.get("/healthz", "").0, 200, "the process lives all the same");
}

#[test]
fn an_open_server_answers_under_its_own_names_only() {
    let server = Server::start(&["--host-name", "gpu-box"]);
    assert_eq!(server.get("/healthz", "host: evil.example\r\n").0, 421);
    assert_eq!(server.get("/api/list_runs", "host: evil.example:3000\r\n").0, 421);
    assert_eq!(server.get("/healthz", "host: gpu-box:3000\r\n").0, 200);
    assert_eq!(server.get("/healthz", "host: localhost\r\n").0, 200);
    let (_, head, _) = server.get("/healthz", "");
    assert!(head.contains("permissions-policy: camera=()") && !head.contains("strict-transport"), "{head}");
}

#[test]
fn slow_clients_lose_their_connection() {
    let server = Server::start(&[]);
    let started = Instant::now();
    // One says nothing, one half a head, one half a body, one a head after an answer.
    let mut silent = server.connect();
    let mut half_head = server.connect();
    half_head.write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0").unwrap();
    let mut half_body = server.connect();
    let head = format!("POST /v1/classify HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n", server.address);
    half_body.write_all(format!("{head}content-length: 100\r\n\r\n{{\"model\"").as_bytes()).unwrap();
    let waiting = [&mut silent, &mut half_head, &mut half_body].map(|stream| {
        let mut stream = stream.try_clone().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(50))).unwrap();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // Closed, or reset: what matters is that it does not time out here.
            let ended = stream.read_to_end(&mut bytes);
            ended.is_ok_and(|_| true) || bytes.is_empty() && started.elapsed() < Duration::from_secs(49)
        })
    });
    for waiting in waiting {
        assert!(waiting.join().unwrap(), "a connection that stands still is held open");
    }
    assert!(started.elapsed() < Duration::from_secs(48));
    assert_eq!(server.get("/healthz", "").0, 200);
}

/// A certificate for `localhost`, in files; and what a client has to trust.
fn certificate(folder: &Path) -> RootCertStore {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    fs::write(folder.join("certificate.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    roots
}

fn get_over_tls(server: &Server, roots: &RootCertStore) -> Result<(u16, String, String), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = server.connect();
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut socket) {
            let told = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).cloned();
            return Err(told.unwrap_or(rustls::Error::General(error.to_string())));
        }
    }
    Ok(exchange(StreamOwned::new(connection, socket), "localhost", "/healthz", ""))
}

#[test]
fn https_with_a_certificate_that_is_renewed() {
    let folder = folder();
    let roots = certificate(folder.path());
    let (certificate_file, key_file) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let arguments = ["--tls-cert", certificate_file.to_str().unwrap(), "--tls-key", key_file.to_str().unwrap()];
    let server = Server::start_in(folder, &arguments);
    let (status, head, body) = get_over_tls(&server, &roots).unwrap();
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    assert!(head.contains("strict-transport-security: max-age="), "{head}");

    let renewed = certificate(server.folder.path());
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(server.child.id() as i32).unwrap(),
        rustix::process::Signal::HUP,
    )
    .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while get_over_tls(&server, &renewed).is_err() {
        assert!(Instant::now() < deadline, "the new certificate is not shown");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(get_over_tls(&server, &roots).is_err(), "the old certificate is shown no more");
}

fn run(command: &mut Command) -> (bool, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn the_configuration_is_shown_with_its_sources() {
    let folder = folder();
    let file = folder.path().join("ayar.toml");
    fs::write(&file, "addr = \"127.0.0.1:0\"\nmetrics-token = \"purple-tram\"\nwaiting-texts = 77\n").unwrap();
    let path = file.to_str().unwrap();
    let check = ["config", "check", "--config", path, "--waiting-requests", "5"];
    let (is_fine, shown, errors) = run(&mut ayar(&folder, &check));
    assert!(is_fine, "{shown}{errors}");
    let source = |name: &str| {
        let line = shown.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_default();
        line.split_whitespace().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(source("addr"), ["addr", "127.0.0.1:0", path]);
    assert_eq!(source("waiting-texts"), ["waiting-texts", "77", path]);
    assert_eq!(source("waiting-requests"), ["waiting-requests", "5", "--waiting-requests"]);
    assert_eq!(source("data-dir")[2], "AYAR_DATA_DIR");
    assert_eq!(source("access"), ["access", "auto", "default"]);
    assert!(!shown.contains("purple-tram") && shown.contains("can start with these settings"));

    // The server takes the same file, by its own variable.
    let mut server = ayar(&folder, &["serve"]).env("AYAR_CONFIG", path).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _ = server.kill();
    let _ = server.wait();
    assert!(line.starts_with("Ayar runs at http://127.0.0.1:"), "{line}");

    fs::write(&file, "adr = \"127.0.0.1:0\"\n").unwrap();
    let (is_fine, _, errors) = run(&mut ayar(&folder, &check));
    assert!(!is_fine && errors.contains("did you mean \"addr\"?"), "{errors}");
    let bad = ["config", "check", "--addr", "127.0.0.1:0", "--tls-cert", path, "--tls-key", path];
    let (is_fine, _, errors) = run(&mut ayar(&folder, &bad));
    assert!(!is_fine && errors.contains("cannot be used together"), "{errors}");
}
