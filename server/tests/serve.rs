//! The server over plain HTTP: what it answers, what it refuses, and why it does not start.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

struct Server {
    child: Child,
    address: String,
    folder: TempDir,
}

/// A site as far as the server looks at it, and an empty data folder.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("site/pkg");
    fs::create_dir_all(&package).unwrap();
    for name in ["app.js", "app.wasm", "app.css"] {
        fs::write(package.join(name), format!("/* {name} */")).unwrap();
    }
    folder
}

fn serve(folder: &TempDir, address: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ayar"));
    command
        .args(["serve", "--addr", address, "--sample", "none"])
        .env("AYAR_DATA_DIR", folder.path().join("data"))
        .env("AYAR_SITE_ROOT", folder.path().join("site"))
        .env("AYAR_BASE_MODEL", Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/base/tohum-16m.gguf"));
    command
}

impl Server {
    fn start() -> Self {
        let folder = folder();
        let mut child = serve(&folder, "127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("Ayar runs at http://").expect("it says where it runs").to_string();
        Self { child, address, folder }
    }

    /// Status, head with the names of its headers in lower case, body.
    fn request(&self, head: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut head = format!("{head}\r\nhost: {}", self.address);
        if !head.contains("content-length") {
            head += &format!("\r\ncontent-length: {}", body.len());
        }
        if !head.contains("connection") {
            head += "\r\nconnection: close";
        }
        write!(stream, "{head}\r\n\r\n{body}").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lower = |line: &str| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}\n", name.to_lowercase()),
            None => format!("{line}\n"),
        };
        (status, head.lines().map(lower).collect(), body.to_string())
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        self.request(&format!("GET {path} HTTP/1.1"), "")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn pages_files_and_refusals() {
    let server = Server::start();
    assert_eq!(server.get("/healthz").0, 200);

    // A page: complete without scripts, its own policy, a nonce on every inline script.
    let (status, head, body) = server.get("/datasets");
    assert_eq!(status, 200);
    assert!(body.contains("<h1") && body.contains("No datasets yet"), "{body}");
    let nonce = head.split_once("'nonce-").unwrap().1.split_once('\'').unwrap().0.to_string();
    assert!(body.contains(&format!("nonce=\"{nonce}\"")), "{nonce}\n{body}");
    assert!(head.contains("frame-ancestors 'self'") && !head.contains("'unsafe-eval'"), "{head}");
    for header in ["x-content-type-options: nosniff", "referrer-policy: same-origin", "cache-control: no-store"] {
        assert!(head.contains(header), "{header}\n{head}");
    }

    // A file: asked after again, and not sent again.
    let (status, head, body) = server.get("/pkg/app.css");
    assert_eq!((status, body.as_str()), (200, "/* app.css */"));
    assert!(head.contains("cache-control: no-cache"), "{head}");
    let changed = head.split_once("last-modified: ").unwrap().1.lines().next().unwrap().to_string();
    let again = server.request(&format!("GET /pkg/app.css HTTP/1.1\r\nif-modified-since: {changed}"), "");
    assert_eq!(again.0, 304);
    assert_eq!(server.get("/../Cargo.toml").0, 404);

    // Nothing there.
    assert_eq!(server.get("/nowhere").0, 404);
    assert_eq!(server.get("/runs/7").0, 404);
    assert_eq!(server.get("/datasets/7").0, 404);

    // The websocket knows its runs and its own pages.
    let upgrade = "connection: upgrade, close\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    assert_eq!(server.request(&format!("GET /runs/7/events HTTP/1.1\r\n{upgrade}"), "").0, 404);
    let foreign = format!("GET /runs/7/events HTTP/1.1\r\norigin: http://elsewhere.example\r\n{upgrade}");
    assert_eq!(server.request(&foreign, "").0, 403);

    // Server functions answer with the status code of their error, and with the words.
    let form = "content-type: application/x-www-form-urlencoded";
    let foreign = format!("POST /api/import HTTP/1.1\r\norigin: http://elsewhere.example\r\n{form}");
    assert_eq!(server.request(&foreign, "").0, 403);
    let import = "form[upload]=00000000&form[name]=a&form[delimiter]=%2C&form[label_column]=1";
    let (status, _, body) = server.request(&format!("POST /api/import HTTP/1.1\r\n{form}"), import);
    assert!((400..500).contains(&status), "{status} {body}");
    assert!(body.contains("upload"), "{body}");

    // Too large to be a form.
    let (status, _, body) = server.request("POST /api/import HTTP/1.1\r\ncontent-length: 3000000", "");
    assert_eq!(status, 413);
    assert!(body.contains("2 MB"), "{body}");
}

#[test]
fn a_file_in_pieces_goes_on_after_a_break_and_comes_out_again() {
    let server = Server::start();
    let rows: String = (0..2000).map(|row| format!("\"=row, number {row}\",{}\n", ["up", "down"][row % 2])).collect();
    let file = format!("text,label\n{rows}");
    let json = "content-type: application/json";
    let announced = format!("{{\"file_name\": \"rows.csv\", \"bytes\": {}}}", file.len());
    let (status, _, body) = server.request(&format!("POST /uploads HTTP/1.1\r\n{json}"), &announced);
    assert_eq!(status, 201, "{body}");
    let upload = field(&body, "upload");
    let received = || {
        let (status, head, body) = server.get(&format!("/uploads/{upload}"));
        assert_eq!(status, 200, "{head}\n{body}");
        field(&body, "received").parse::<usize>().unwrap()
    };
    assert_eq!(received(), 0);

    // The connection breaks in the middle of a piece: what had come is kept.
    let put = |offset: usize| format!("PUT /uploads/{upload}?offset={offset} HTTP/1.1");
    let half = file.len() / 2;
    let mut broken = TcpStream::connect(&server.address).unwrap();
    let head = format!("{}\r\nhost: {}\r\ncontent-length: {}\r\n\r\n", put(0), server.address, file.len());
    broken.write_all(head.as_bytes()).unwrap();
    broken.write_all(&file.as_bytes()[..half]).unwrap();
    broken.flush().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(broken);
    let deadline = Instant::now() + Duration::from_secs(10);
    while received() < half && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(received(), half);

    // It goes on from there and from nowhere else; other sites' pages and endless pieces do not.
    assert_eq!(server.request(&put(0), &file[..10]).0, 409);
    assert_eq!(server.request(&format!("{}\r\norigin: http://elsewhere.example", put(half)), &file[half..]).0, 403);
    assert_eq!(server.request(&format!("{}\r\ncontent-length: 999999999", put(half)), "").0, 413);
    assert_eq!(server.request("PUT /uploads/0123456789abcdef0123456789abcdef?offset=0 HTTP/1.1", "x").0, 404);
    // What came on the broken connection may still be on its way to the disk; until then the upload is taken.
    let (status, body) = loop {
        let (status, _, body) = server.request(&put(half), &file[half..]);
        if status != 409 || Instant::now() > deadline {
            break (status, body);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((status, field(&body, "received")), (200, file.len().to_string()), "{body}");

    let form = "content-type: application/x-www-form-urlencoded";
    let (status, _, body) =
        server.request(&format!("POST /api/import HTTP/1.1\r\n{form}"), &format!("form[upload]={upload}"));
    assert!((200..400).contains(&status), "{status} {body}");
    let (status, head, csv) = server.get("/datasets/1/export.csv?version=1");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/csv") && head.contains("attachment; filename=\"rows-v1.csv\""), "{head}");
    assert!(csv.contains("\"'=row, number 7\",down"), "formulas are escaped");
    assert_eq!(server.get("/datasets/1/export.csv?version=9").0, 404);
}

/// The value of a field in a flat JSON object.
fn field(json: &str, name: &str) -> String {
    let json = &json[json.find('{').unwrap_or(0)..=json.rfind('}').unwrap_or(json.len() - 1)];
    let object: serde_json::Value = serde_json::from_str(json).unwrap();
    object[name].as_str().map_or_else(|| object[name].to_string(), String::from)
}

#[test]
fn a_signal_stops_it_in_good_order() {
    let mut server = Server::start();
    Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    let status = server.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(server.folder.path().join("data").is_dir());
}

#[test]
fn what_keeps_it_from_starting_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = folder();
    let fails = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = fails(&mut serve(&folder, &address));
    let port = address.rsplit(':').next().unwrap();
    assert!(said.contains(&format!("Port {port}")) && said.contains("--addr"), "{said}");
    // Nothing was touched.
    assert!(!folder.path().join("data").exists());

    let said = fails(serve(&folder, "127.0.0.1:0").env("AYAR_BASE_MODEL", "nowhere.gguf"));
    assert!(said.contains("nowhere.gguf") && said.contains("--base-model"), "{said}");
    let broken = folder.path().join("broken.gguf");
    fs::write(&broken, "GGUF").unwrap();
    let said = fails(serve(&folder, "127.0.0.1:0").env("AYAR_BASE_MODEL", &broken));
    assert!(said.contains("broken.gguf"), "{said}");
    fs::remove_file(folder.path().join("site/pkg/app.wasm")).unwrap();
    let said = fails(&mut serve(&folder, "127.0.0.1:0"));
    assert!(said.contains("pkg/app.wasm") && said.contains("make site"), "{said}");
}

#[test]
fn what_is_no_evaluation_is_refused_in_words() {
    let server = Server::start();
    for (path, status, words) in [
        ("/runs/7/report", 404, "no run number 7"),
        ("/runs/7/rows.csv?rows=wrong&order=confidence", 404, "no run number 7"),
        ("/runs/-1/scores.json", 404, "no run number -1"),
        ("/runs/x/confusion.csv", 400, ""),
        ("/compare.csv?runs=1", 400, "Choose 2 to 8 runs"),
        ("/compare.json?runs=1,2,3,4,5,6,7,8,9", 400, "Choose 2 to 8 runs"),
        ("/compare.json?runs=1,2", 404, "no run number 1"),
        ("/compare.json", 400, "Choose 2 to 8 runs"),
    ] {
        let (found, _, body) = server.get(path);
        assert_eq!(found, status, "{path}: {body}");
        assert!(body.contains(words), "{path}: {body}");
    }
    // Pages that choose nothing to compare say how to choose.
    for path in ["/compare", "/compare?runs=1", "/compare?runs=a&runs=b&against=c"] {
        let (status, _, body) = server.get(path);
        assert_eq!(status, 200, "{path}");
        assert!(body.contains("Choose two to eight runs"), "{path}");
    }
}
