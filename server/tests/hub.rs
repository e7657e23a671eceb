//! The commands that speak to the Hub, with a Hub on loopback: fetched, trained on, pushed, pulled, and the same answers.

#[path = "../../service/tests/hub/server/mod.rs"]
#[allow(dead_code, reason = "the tests of the Hub's client use more of it")]
mod hub;

use hub::{Access, HubOptions, TestHub, WRITER};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct World {
    hub: TestHub,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { hub: TestHub::start(HubOptions::default()), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_string()
    }

    fn run(&self, arguments: &[&str], more: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ayar"))
            .args(arguments)
            .stdin(Stdio::null())
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("HF_HOME", self.path("hf"))
            .env("HF_TOKEN", WRITER)
            .env_remove("HF_HUB_CACHE")
            .envs(more.iter().copied())
            .output()
            .unwrap()
    }

    /// What was printed; a failure is told.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, &[]);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The exit code and what was said.
    fn refused(&self, arguments: &[&str], more: &[(&str, &str)]) -> (Option<i32>, String) {
        let output = self.run(arguments, more);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

fn family(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/families").join(name)
}

#[test]
fn a_model_comes_from_the_hub_and_its_adapter_goes_back() {
    let world = World::new();
    let weights = std::fs::read(family("qwen2").join("model.gguf")).unwrap();
    world.hub.put("ada/tiny", &[("tiny.gguf", &weights)]);
    let model = "ada/tiny/tiny.gguf";
    let (code, said) = world.refused(&["classify", "--model", model, "--adapter", "nowhere", "--text", "x"], &[]);
    assert!(code == Some(2) && said.contains("nowhere"), "{said}");
    let csv: String = (0..32).map(|row| format!("day {row},{}\n", if row % 2 == 0 { "even" } else { "odd" })).collect();
    std::fs::write(world.path("rows.csv"), format!("text,label\n{csv}")).unwrap();
    let rows = world.path("rows.csv");
    let out = world.path("run");
    let train = [
        "train",
        "--model",
        model,
        "--train",
        &rows,
        "--test",
        &rows,
        "--text-column",
        "text",
        "--label-column",
        "label",
        "--recipe",
        "small-base",
        "--prompt_template",
        "{text} =",
        "--num_train_epochs",
        "1",
        "--out",
        &out,
    ];
    let (code, said) = world.refused(&train, &[]);
    assert!(code == Some(2) && said.contains("ayar models add ada/tiny/tiny.gguf"), "{said}");

    assert!(world.done(&["models", "check", model]).contains("qwen2"));
    let added: Value = serde_json::from_str(&world.done(&["models", "add", model, "--json"])).unwrap();
    assert_eq!(added["model"]["architecture"], "qwen2");
    assert!(world.done(&["models", "list"]).contains("ada/tiny"));
    world.hub.seen();
    world.done(&train);
    assert_eq!(world.hub.seen().len(), 0, "what is in the cache is used without a question");

    let url = world.done(&["push", &out, "writer/result"]);
    assert!(url.contains("writer/result"), "{url}");
    assert_eq!(world.hub.access("writer/result"), Access::Private);
    let pulled = world.path("pulled");
    world.done(&["pull", "writer/result", "--out", &pulled]);
    let classify = |adapter: &str| -> Value {
        let words = ["classify", "--model", model, "--adapter", adapter, "--text", "day 4", "--json"];
        serde_json::from_str::<Value>(&world.done(&words)).unwrap()["predictions"].clone()
    };
    assert_eq!(classify(&pulled), classify(&out));
    assert_eq!(classify("writer/result"), classify(&out), "from the cache, by its address");

    assert!(world.done(&["models", "remove", "ada/tiny"]).contains("freed"));
    assert!(!world.done(&["models", "list"]).contains("ada/tiny"));
    let (code, said) = world.refused(&["models", "add", model], &[("HF_HUB_OFFLINE", "1")]);
    assert!(code == Some(1) && said.contains("HF_HUB_OFFLINE"), "{said}");
}

#[test]
fn what_may_not_be_had_is_told_with_the_way_to_it() {
    let world = World::new();
    world.hub.put("meta/gated", &[("model.gguf", b"GGUF")]);
    world.hub.set_access("meta/gated", Access::Gated { accepted: BTreeSet::new() });
    let check = ["models", "check", "meta/gated/model.gguf"];
    let (code, said) = world.refused(&check, &[]);
    assert!(code == Some(1) && said.contains("licence") && said.contains("/meta/gated"), "{said}");
    let (code, said) = world.refused(&check, &[("HF_TOKEN", "hf_nobody")]);
    assert!(code == Some(1) && said.contains("does not know the access token"), "{said}");
    assert!(!said.contains("hf_nobody"), "a token is told to nobody");
    let (code, said) = world.refused(&["models", "check", "no-address"], &[]);
    assert!(code == Some(2) && said.contains("owner/name"), "{said}");
    let nothing = world.path("nothing");
    let (code, said) = world.refused(&["push", &nothing, "writer/result"], &[]);
    assert!(code == Some(2) && said.contains("nothing"), "{said}");
}
