//! A server with sign-in over plain HTTP: who gets in, by what, and how far.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\naccept: text/html";
const PASSWORD: &str = "purple+tram+nine";

struct Server {
    child: Child,
    said: BufReader<ChildStdout>,
    address: String,
    folder: TempDir,
}

struct Answer {
    status: u16,
    /// Names in lower case.
    head: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.head.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The pair of the session's cookie.
    fn cookie(&self) -> String {
        let kept = self.head.iter().filter(|(name, value)| name == "set-cookie" && !value.contains("Max-Age=0"));
        kept.map(|(_, value)| value.split(';').next().unwrap().to_string()).next().expect("a cookie is set")
    }
}

impl Server {
    fn start(access: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("site/pkg");
        fs::create_dir_all(&package).unwrap();
        for name in ["app.js", "app.wasm", "app.css"] {
            fs::write(package.join(name), "").unwrap();
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_ayar"))
            .args(["serve", "--addr", "127.0.0.1:0", "--sample", "none", "--device", "cpu", "--access", access])
            .env("AYAR_DATA_DIR", folder.path().join("data"))
            .env("AYAR_SITE_ROOT", folder.path().join("site"))
            .env("AYAR_BASE_MODEL", Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/base/tohum-16m.gguf"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let line = line_of(&mut said);
        let address = line.strip_prefix("Ayar runs at http://").expect("it says where it runs").to_string();
        Self { child, said, address, folder }
    }

    /// The token of the link that it prints when it has no administrator.
    fn setup_token(&mut self) -> String {
        assert!(line_of(&mut self.said).contains("no administrator yet"));
        let line = line_of(&mut self.said);
        line.strip_prefix(&format!("http://{}/setup/", self.address)).unwrap_or_else(|| panic!("{line}")).to_string()
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
        let (host, length) = (&self.address, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let pairs = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let head = pairs.map(|(name, value)| (name.to_lowercase(), value.to_string())).collect();
        Answer { status, head, body: body.to_string() }
    }

    fn get(&self, path: &str, headers: &str) -> Answer {
        self.send("GET", path, headers, "")
    }

    /// Sends a form of that page as a browser without scripts does, to the function that the page names.
    fn submit(&self, page: &str, function: &str, cookie: &str, fields: &str) -> Answer {
        let headers = if cookie.is_empty() { String::new() } else { format!("cookie: {cookie}") };
        let html = self.get(page, &headers).body;
        let action = action_in(&html, function).unwrap_or_else(|| panic!("{page} has no form for {function}: {html}"));
        self.post(&action, page, cookie, fields)
    }

    fn post(&self, action: &str, page: &str, cookie: &str, fields: &str) -> Answer {
        let origin = format!("http://{}", self.address);
        let mut headers = format!("{FORM}\r\norigin: {origin}\r\nreferer: {origin}{page}");
        if !cookie.is_empty() {
            headers += &format!("\r\ncookie: {cookie}");
        }
        self.send("POST", action, &headers, fields)
    }

    /// The first administrator's cookie.
    fn first(&mut self) -> String {
        let token = self.setup_token();
        let fields = format!("token={token}&name=Ann&email=ann%40example.org&password={PASSWORD}");
        let answer = self.submit(&format!("/setup/{token}"), "set_up", "", &fields);
        assert_eq!((answer.status, answer.header("location")), (302, "/people"));
        answer.cookie()
    }

    /// The cookie of somebody who has taken up an invitation.
    fn joined(&self, administrator: &str, name: &str, role: &str) -> String {
        let answer = self.submit("/people", "invite", administrator, &format!("role={role}"));
        assert_eq!(answer.status, 302, "{}", answer.body);
        let path = answer.header("location").split('#').next().unwrap();
        let shown = self.get(path, &format!("cookie: {administrator}"));
        let links = shown.body.split("/invitations/").skip(1).map(word_at_start);
        let token = links.max_by_key(String::len).unwrap();
        let again = self.get(path, &format!("cookie: {administrator}"));
        assert!(!again.body.contains(&token), "it is shown once");
        let fields = format!("token={token}&name={name}&email={name}%40example.org&password={PASSWORD}");
        let answer = self.submit(&format!("/invitations/{token}"), "accept_invitation", "", &fields);
        assert_eq!((answer.status, answer.header("location")), (302, "/"), "{}", answer.body);
        answer.cookie()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line_of(said: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    line.trim().to_string()
}

/// The address that a form is sent to: the function's name and a number.
fn action_in(html: &str, function: &str) -> Option<String> {
    let start = format!("/api/{function}");
    let mut rest = html;
    while let Some(at) = rest.find(&start) {
        let action: String = rest[at..].chars().take_while(|letter| *letter != '"').collect();
        if action[start.len()..].bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(action);
        }
        rest = &rest[at + 1..];
    }
    None
}

fn word_at_start(words: &str) -> String {
    words.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// The key that a page shows.
fn key_in(page: &str) -> String {
    let key = page.split("ayar_").skip(1).map(word_at_start).find(|key| key.len() == 43);
    format!("ayar_{}", key.unwrap_or_else(|| panic!("there is no key on {page}")))
}

#[test]
fn somebody_signs_in_and_out() {
    let mut server = Server::start("sign-in");
    // Nothing is told to nobody: pages lead to the door, programs hear why.
    let answer = server.get("/runs?page=2", "accept: text/html");
    assert_eq!((answer.status, answer.header("location")), (303, "/sign-in?then=/runs%3Fpage%3D2"));
    let answer = server.get("/datasets/1/export.csv", "");
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer realm=\"Ayar\""));
    assert!(answer.body.contains("\"kind\":\"sign_in\""), "{}", answer.body);
    assert_eq!(server.get("/healthz", "").status, 200);
    assert_eq!(server.get("/pkg/app.css", "").status, 200);
    assert_eq!(server.get("/nowhere", "").status, 401);
    assert!(server.get("/setup/0123", "accept: text/html").body.contains("This link is not open"));

    let ann = server.first();
    let sign_in = |then: &str, password: &str| {
        let fields = format!("email=ann%40example.org&password={password}&then={then}");
        server.submit("/sign-in", "sign_in", "", &fields)
    };
    let refused = sign_in("%2Fruns", "wrong+words");
    assert_eq!(refused.status, 302);
    assert!(refused.header("location").contains("/sign-in?__path="), "{}", refused.header("location"));
    let path = refused.header("location").split_once(&server.address).unwrap().1.to_string();
    let page = server.get(&path, "accept: text/html");
    assert!(page.body.contains("No account has this email address with this password."), "{}", page.body);
    assert!(refused.header("set-cookie").is_empty());

    let answer = sign_in("%2Fruns%3Fpage%3D2", PASSWORD);
    assert_eq!((answer.status, answer.header("location")), (302, "/runs?page=2"));
    let kept = answer.header("set-cookie");
    assert!(kept.starts_with("ayar=") && kept.contains("; HttpOnly") && kept.contains("; SameSite=Lax"), "{kept}");
    assert!(kept.contains("; Path=/") && kept.contains("; Max-Age=2592000") && !kept.contains("Secure"), "{kept}");
    assert_eq!(sign_in("https://elsewhere.example", PASSWORD).header("location"), "/");
    let second = answer.cookie();
    assert_ne!(ann, second);
    let page = server.get("/account", &format!("cookie: {second}"));
    assert!(page.status == 200 && page.body.contains("Ann") && page.body.contains("this browser"), "{}", page.body);

    // Over https, as the browser's Origin tells, the cookie is bound to this host.
    let action = action_in(&server.get("/sign-in", "").body, "sign_in").unwrap();
    let origin = format!("{FORM}\r\norigin: https://{}", server.address);
    let fields = format!("email=ann%40example.org&password={PASSWORD}");
    let answer = server.send("POST", &action, &origin, &fields);
    let kept = answer.header("set-cookie");
    assert!(kept.starts_with("__Host-ayar=") && kept.ends_with("; Secure") && kept.contains("; Path=/;"), "{kept}");
    assert_eq!(server.get("/runs", &format!("cookie: {}", answer.cookie())).status, 200);

    // A cookie changes things only from our own pages.
    let page = server.get("/account", &format!("cookie: {second}")).body;
    let everywhere = action_in(&page, "sign_out_everywhere").unwrap();
    let rename = action_in(&page, "rename_me").unwrap();
    let plain = "content-type: application/x-www-form-urlencoded";
    for from in ["", "\r\norigin: http://elsewhere.example", "\r\nsec-fetch-site: cross-site", "\r\norigin: null"] {
        let answer = server.send("POST", &rename, &format!("{plain}\r\ncookie: {second}{from}"), "name=Mallory");
        assert_eq!(answer.status, 403, "{from}: {}", answer.body);
    }
    assert!(!server.get("/account", &format!("cookie: {second}")).body.contains("Mallory"));
    let same = format!("{plain}\r\ncookie: {second}\r\nsec-fetch-site: same-origin");
    assert_eq!(server.send("POST", &rename, &same, "name=Annabel").status, 200);
    assert!(server.get("/account", &format!("cookie: {second}")).body.contains("Annabel"));

    let sign_out = action_in(&page, "sign_out").unwrap();
    let answer = server.post(&sign_out, "/account", &second, "");
    assert_eq!((answer.status, answer.header("location")), (302, "/sign-in"));
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(server.get("/runs", &format!("cookie: {second}")).status, 401);
    assert_eq!(server.get("/runs", &format!("cookie: {ann}")).status, 200);
    assert_eq!(server.post(&everywhere, "/account", &ann, "").status, 302);
    assert_eq!(server.get("/runs", &format!("cookie: {ann}")).status, 401);

    // A lost password, from the command line while the server runs.
    let output = Command::new(env!("CARGO_BIN_EXE_ayar"))
        .args(["people", "reset-link", "--email", "Ann@example.org", "--addr", &server.address])
        .env("AYAR_DATA_DIR", server.folder.path().join("data"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let path = said.trim().strip_prefix(&format!("http://{}", server.address)).unwrap_or_else(|| panic!("{said}"));
    let token = path.strip_prefix("/reset/").unwrap();
    let answer = server.submit(path, "reset_password", "", &format!("token={token}&password=another+tram+ten"));
    assert_eq!((answer.status, answer.header("location")), (302, "/account"));
    assert_eq!(server.get("/runs", &format!("cookie: {}", answer.cookie())).status, 200);
    assert!(sign_in("", PASSWORD).header("location").contains("__err="));
}

/// Every server function for every role: a refusal is 403, whatever else comes of an empty form.
#[test]
fn roles_reach_as_far_as_the_table_says() {
    let mut server = Server::start("sign-in");
    let administrator = server.first();
    let editor = server.joined(&administrator, "bob", "editor");
    let viewer = server.joined(&administrator, "eve", "viewer");
    let ask = |method: &str, path: &str, cookie: &str| {
        let same = "sec-fetch-site: same-origin\r\ncontent-type: application/x-www-form-urlencoded";
        server.send(method, path, &format!("{same}\r\ncookie: {cookie}"), "").status
    };
    // Whoever may gets the answer of the address itself, which is no refusal.
    for (method, path, viewers, editors, administrators) in [
        ("GET", "/runs", true, true, true),
        ("GET", "/datasets", true, true, true),
        ("GET", "/account", true, true, true),
        ("GET", "/datasets/new", false, true, true),
        ("GET", "/people", false, false, true),
        ("POST", "/v1/classify", true, true, true),
        ("POST", "/models/run-1", true, true, true),
        ("POST", "/uploads", false, true, true),
        ("PUT", "/uploads/0123456789abcdef0123456789abcdef?offset=0", false, true, true),
        ("POST", "/api/start_run1", false, true, true),
        ("POST", "/api/import", false, true, true),
        ("POST", "/api/create_deployment1", false, true, true),
        ("POST", "/api/set_token1", false, false, true),
        ("POST", "/api/invite1", false, false, true),
        ("POST", "/api/change_role1", false, false, true),
        ("POST", "/api/list_runs1", true, true, true),
        ("POST", "/api/make_key1", true, true, true),
    ] {
        for (who, cookie, may) in [
            ("viewer", &viewer, viewers),
            ("editor", &editor, editors),
            ("administrator", &administrator, administrators),
        ] {
            let status = ask(method, path, cookie);
            assert_eq!(status != 403, may, "{who}: {method} {path} was answered with {status}");
            assert_ne!(status, 401, "{who}: {method} {path}");
        }
    }
    // What the table does not know is there for administrators alone.
    assert_eq!(ask("POST", "/api/unheard_of1", &viewer), 404);
    assert_eq!(ask("POST", "/api/unheard_of1", &administrator), 405);

    // A page that is not for somebody says so, as a page; a form goes back with the words.
    let page = server.get("/people", &format!("accept: text/html\r\ncookie: {viewer}"));
    assert!(page.status == 403 && page.body.contains("you are viewer") && page.body.contains("<h1>"), "{}", page.body);
    let answer = server.post("/api/start_run1", "/runs/new", &viewer, "");
    assert_eq!(answer.status, 303);
    assert!(answer.header("location").contains("/runs/new?__path="), "{}", answer.header("location"));

    // A role counts from the next request on, and the last administrator stays.
    let page = server.get("/people", &format!("cookie: {administrator}")).body;
    let change = action_in(&page, "change_role").unwrap();
    let answer = server.post(&change, "/people", &administrator, "id=3&role=editor");
    assert_eq!(answer.header("location"), "/people");
    assert_ne!(ask("POST", "/api/start_run1", &viewer), 403);
    let answer = server.post(&change, "/people", &administrator, "id=1&role=viewer");
    assert!(answer.header("location").contains("__err="), "{}", answer.header("location"));
    assert_eq!(ask("GET", "/people", &administrator), 200);
    let remove = action_in(&page, "remove_person").unwrap();
    assert_eq!(server.post(&remove, "/people", &administrator, "id=3").header("location"), "/people");
    assert_eq!(ask("GET", "/runs", &viewer), 401);
}

#[test]
fn keys_open_what_they_are_for() {
    let mut server = Server::start("sign-in");
    let ann = server.first();
    let made = |cookie: &str, fields: &str| {
        let answer = server.submit("/account", "make_key", cookie, fields);
        let path = answer.header("location").split('#').next().unwrap();
        key_in(&server.get(path, &format!("cookie: {cookie}")).body)
    };
    let ask = |method: &str, path: &str, key: &str| {
        server
            .send(method, path, &format!("authorization: Bearer {key}\r\ncontent-type: application/json"), "{}")
            .status
    };
    let classify = made(&ann, "name=classifier&classify=true&days=30");
    let read = made(&ann, "name=reader&read=true&days=");
    let train = made(&ann, "name=trainer&train=true");
    for (method, path, allowed) in [
        ("POST", "/v1/classify", [true, false, false]),
        ("GET", "/runs", [false, true, false]),
        ("POST", "/uploads", [false, false, true]),
        ("GET", "/account", [false; 3]),
        ("POST", "/api/invite1", [false; 3]),
        ("POST", "/api/make_key1", [false; 3]),
    ] {
        for (key, may) in [&classify, &read, &train].into_iter().zip(allowed) {
            let status = ask(method, path, key);
            assert_eq!(status != 403, may, "{method} {path}: {status}");
            assert_ne!(status, 401);
        }
    }
    assert_eq!(ask("POST", "/v1/classify", "ayar_unknown"), 401);
    assert_eq!(ask("POST", "/v1/classify", "hf_unknown"), 401);
    let page = server.get("/account", &format!("cookie: {ann}")).body;
    assert!(page.contains("trainer") && !page.contains(&train), "a key is shown once");
    let revoke = action_in(&page, "revoke_key").unwrap();
    server.post(&revoke, "/account", &ann, "id=1");
    assert_eq!(ask("POST", "/v1/classify", &classify), 401);

    // An open server asks nobody; a key that is sent is looked at, and tokens of others are not.
    let server = Server::start("auto");
    assert_eq!(server.get("/runs", "").status, 200);
    let page = server.get("/people", "accept: text/html").body;
    assert!(page.contains("This server is open") && page.contains("--access sign-in"), "{page}");
    assert_eq!(server.get("/runs", "authorization: Bearer hf_abc").status, 200);
    assert_eq!(server.get("/runs", "authorization: Bearer ayar_abc").status, 401);
    let answer = server.submit("/account", "make_key", "", "name=classifier&classify=true");
    let key = key_in(&server.get(answer.header("location").split('#').next().unwrap(), "").body);
    assert_eq!(server.get("/runs", &format!("authorization: Bearer {key}")).status, 403);
    let answer = server.send("POST", "/v1/classify", &format!("authorization: Bearer {key}"), "{}");
    assert!(![200, 401, 403].contains(&answer.status), "{}: {}", answer.status, answer.body);
}

#[test]
fn guessing_is_slowed_down() {
    let mut server = Server::start("sign-in");
    server.first();
    let action = action_in(&server.get("/sign-in", "").body, "sign_in").unwrap();
    let guess = |email: &str| {
        let headers = "content-type: application/x-www-form-urlencoded";
        server.send("POST", &action, headers, &format!("email={email}%40example.org&password=wrong+words"))
    };
    for email in ["ann", "nobody"] {
        for _ in 0..5 {
            assert_eq!(guess(email).status, 401);
        }
        let answer = guess(email);
        assert_eq!(answer.status, 429, "{}", answer.body);
        assert!(answer.body.contains("too many tries"), "{}", answer.body);
    }
}
