//! `ayar data`: files examined and imported from the command line.

use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn base_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/base/tohum-16m.gguf")
}

fn ayar(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ayar"))
        .args(arguments)
        .stdin(Stdio::null())
        .env("AYAR_BASE_MODEL", base_model())
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Rows of which 30 repeat others and 20 contradict them, with semicolons between fields.
fn spoilt(folder: &TempDir) -> String {
    let mut csv = "id;headline;mood\n".to_string();
    for row in 0..200 {
        csv += &format!(
            "{row};Company {row} reports {} orders for its plant number {};{}\n",
            row * 7,
            row * 3,
            ["up", "down"][row % 2]
        );
    }
    for row in 0..30 {
        csv += &format!(
            "{row};Company {row} reports {} orders for its plant number {};{}\n",
            row * 7,
            row * 3,
            ["up", "down"][row % 2]
        );
    }
    for row in 100..120 {
        csv += &format!(
            "{row};Company {row} reports {} orders for its plant number {};{}\n",
            row * 7,
            row * 3,
            ["down", "up"][row % 2]
        );
    }
    csv += "999;;up\n";
    let path = folder.path().join("spoilt.csv");
    fs::write(&path, csv).unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn a_check_tells_what_is_wrong_and_fails_only_where_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = spoilt(&folder);
    let output = ayar(&["data", "check", &file]);
    let words = said(&output);
    assert_eq!(output.status.code(), Some(0), "{words}");
    for told in ["text \"headline\"", "label \"mood\"", "line 252", "250 rows", "PROBLEM"] {
        assert!(words.contains(told), "{told}\n{words}");
    }
    assert_eq!(ayar(&["data", "check", &file, "--strict"]).status.code(), Some(1));

    let output = ayar(&["data", "check", &file, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let examination = &report["examination"];
    assert_eq!((examination["rows"].as_u64(), examination["rejected"].as_u64()), (Some(250), Some(1)));
    let kinds: Vec<&str> =
        examination["findings"].as_array().unwrap().iter().filter_map(|f| f["kind"].as_str()).collect();
    assert!(kinds.contains(&"exact_duplicates") && kinds.contains(&"contradictions"), "{kinds:?}");
    // 20 texts stand twice, once with each label: of 250 rows 230 can be right.
    assert!((examination["ceiling"].as_f64().unwrap() - 0.92).abs() < 1e-9, "{}", examination["ceiling"]);
}

#[test]
fn what_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = spoilt(&folder);
    for (arguments, code, words) in [
        (vec!["data", "check", "nowhere.csv"], 2, "nowhere.csv"),
        (vec!["data", "check", &file, "--text-column", "body"], 2, "id, headline, mood"),
        (vec!["data", "check", &file, "--delimiter", "x"], 2, "tab"),
        (vec!["data", "check", &file, "--label-column", "id"], 1, "label"),
    ] {
        let output = ayar(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {}", said(&output));
        assert!(said(&output).contains(words), "{arguments:?} {}", said(&output));
    }
}

#[test]
fn a_file_is_imported_added_to_and_refused_while_the_folder_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let file = spoilt(&folder);
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let import = |more: &[&str]| ayar(&[&["data", "import", &file, "--data-dir", data], more].concat());
    let output = import(&["--name", "Spoilt", "--label-name", "up=better", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let dataset = &serde_json::from_slice::<Value>(&output.stdout).unwrap()["dataset"];
    assert_eq!((dataset["name"].as_str(), dataset["version"].as_i64()), (Some("Spoilt"), Some(1)));
    let labels: Vec<&str> = dataset["labels"].as_array().unwrap().iter().filter_map(|l| l["label"].as_str()).collect();
    assert!(labels.contains(&"better") && labels.contains(&"down"), "{labels:?}");

    let more = folder.path().join("more.csv");
    fs::write(&more, "headline,mood\nA wholly new plant opens,better\nAn old plant closes,down\n").unwrap();
    let output = ayar(&["data", "import", more.to_str().unwrap(), "--into", "1", "--data-dir", data]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("version 2") && said(&output).contains("252 rows"), "{}", said(&output));

    let lock = File::create(Path::new(data).join("ayar.lock")).unwrap();
    lock.lock().unwrap();
    let output = import(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("in use by another Ayar"), "{}", said(&output));
}
