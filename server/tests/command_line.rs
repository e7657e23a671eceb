//! The program as people and scripts meet it: exit codes, what stands on stdout, what a stop leaves behind.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const POSITIVE: [&str; 4] = ["Profit rose by", "Sales grew by", "Orders jumped by", "The dividend was raised by"];
const NEGATIVE: [&str; 4] = ["Profit fell by", "Sales shrank by", "Orders dropped by", "The dividend was cut by"];

fn base_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/base/tohum-16m.gguf")
}

fn ayar(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ayar"));
    command.args(arguments).stdin(Stdio::null()).env("AYAR_BASE_MODEL", base_model());
    command
}

fn run(arguments: &[&str]) -> Output {
    ayar(arguments).output().unwrap()
}

/// Exit code and everything that was said.
fn outcome(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    (output.status.code().unwrap(), stdout(&output) + &stderr(&output))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_string()
}

/// A file of `rows` rows in two labels that are easy to tell apart.
fn write_rows(path: &str, rows: usize) {
    let mut csv = "text,label\n".to_string();
    for row in 0..rows {
        let (beginnings, label) = if row % 2 == 0 { (POSITIVE, "up") } else { (NEGATIVE, "down") };
        csv += &format!("\"{} {} percent, the company said\",{label}\n", beginnings[row / 2 % 4], row % 90 + 2);
    }
    fs::write(path, csv).unwrap();
}

fn folder_with_rows(train: usize, test: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_rows(&path(&folder, "train.csv"), train);
    write_rows(&path(&folder, "test.csv"), test);
    folder
}

fn train_arguments(folder: &TempDir, more: &[&str]) -> Vec<String> {
    let (train, test, out) = (path(folder, "train.csv"), path(folder, "test.csv"), path(folder, "out"));
    let fixed = ["train", "--train", &train, "--test", &test, "--text-column", "text", "--label-column", "label"];
    let rest = ["--out", &out, "--recipe", "small-base"];
    fixed.iter().chain(&rest).chain(more).map(ToString::to_string).collect()
}

fn as_strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
fn arguments_that_cannot_be_used_end_with_2_and_say_which() {
    let folder = folder_with_rows(8, 4);
    for (more, words) in [
        (&["--r", "0"][..], "LoRA rank"),
        (&["--learning-rate", "fast"], "Learning rate"),
        (&["--prompt_template", "no place for the text"], "{text}"),
        (&["--model", "nowhere.gguf"], "nowhere.gguf does not exist"),
        (&["--validation", "nowhere.csv"], "nowhere.csv does not exist"),
        (&["--no-such-knob", "1"], "--no-such-knob"),
        (&["--device", "gpu"], "names no device"),
        (&["--device", "cuda:1,1"], "card 1 twice"),
    ] {
        let (code, said) = outcome(&as_strs(&train_arguments(&folder, more)));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(outcome(&["train"]).0, 2);
    assert_eq!(outcome(&[]).0, 2);
    assert_eq!(outcome(&["classify", "--adapter", "nowhere", "--text", "a"]).0, 2);
    assert_eq!(outcome(&["--help"]).0, 0);
    assert_eq!(outcome(&["--version"]).0, 0);
    assert!(!folder.path().join("out").exists());
}

/// Whatever this machine has: the CPU comes first, and either there is a card or it is said why there is none.
#[test]
fn devices_are_listed_and_chosen_by_name() {
    let output = run(&["devices", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let listed: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object on stdout");
    let devices = listed["devices"].as_array().unwrap();
    assert_eq!(devices[0]["id"], "cpu");
    assert!(devices[0]["name"].as_str().unwrap().starts_with("CPU, "), "{listed}");
    assert_eq!(devices.len() == 1, listed["why_no_gpu"].is_string(), "{listed}");

    let (code, said) = outcome(&["devices"]);
    assert_eq!(code, 0, "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("device") && lines[1].starts_with("cpu "), "{said}");
    if let Some(reason) = listed["why_no_gpu"].as_str() {
        assert!(said.contains(reason), "{said}");
    }

    // A card that is not there is refused before anything is begun; the CPU is there under its own name.
    let folder = folder_with_rows(8, 4);
    let (code, said) = outcome(&as_strs(&train_arguments(&folder, &["--device", "cuda:99"])));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--device: ") && !folder.path().join("out").exists(), "{said}");
    let one_step = ["--device", "cpu", "--num_train_epochs", "1", "--json"];
    let output = run(&as_strs(&train_arguments(&folder, &one_step)));
    assert!(output.status.success(), "{}", stderr(&output));
    let figures: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(figures["device"], devices[0]["name"]);
}

#[test]
fn files_that_cannot_be_used_end_with_1_and_say_why() {
    let folder = folder_with_rows(8, 4);
    let broken = path(&folder, "broken.gguf");
    fs::write(&broken, b"GGUF and then nothing of use").unwrap();
    let (code, said) = outcome(&as_strs(&train_arguments(&folder, &["--model", &broken])));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("broken.gguf"), "{said}");

    fs::write(path(&folder, "train.csv"), "text,label\none,same\ntwo,same\n").unwrap();
    let (code, said) = outcome(&as_strs(&train_arguments(&folder, &[])));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("at least two different labels"), "{said}");

    fs::write(path(&folder, "train.csv"), b"\x89PNG\r\n\x1a\n\0\0").unwrap();
    let (code, said) = outcome(&as_strs(&train_arguments(&folder, &[])));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("train.csv") && said.contains("PNG"), "{said}");
}

#[test]
fn train_evaluate_classify() {
    let folder = folder_with_rows(64, 32);
    let arguments = train_arguments(&folder, &["--num-train-epochs", "2", "--json"]);
    let output = run(&as_strs(&arguments));
    assert!(output.status.success(), "{}", stderr(&output));
    let figures: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object on stdout");
    assert_eq!(figures["rows"]["test"], 32);
    assert_eq!(figures["steps"], 8);
    assert_eq!(figures["spec"]["num_train_epochs"], 2);
    assert!(figures["after"]["accuracy"].as_f64() >= figures["before"]["accuracy"].as_f64(), "{figures}");
    assert!(figures["seconds"]["training"].as_f64() > Some(0.0));
    assert!(stderr(&output).contains("training: "), "plain lines where there is no terminal: {}", stderr(&output));

    // A finished run is not trained over.
    let (code, said) = outcome(&as_strs(&arguments));
    assert_eq!(code, 2);
    assert!(said.contains("finished run"), "{said}");

    // The same numbers again, from the folder that the run left.
    let (adapter, test) = (path(&folder, "out"), path(&folder, "test.csv"));
    let columns = ["--text-column", "text", "--label-column", "label"];
    let evaluate = [&["evaluate", "--adapter", &adapter, "--data", &test, "--json"][..], &columns].concat();
    let output = run(&evaluate);
    assert!(output.status.success(), "{}", stderr(&output));
    let evaluated: Value = serde_json::from_str(&stdout(&output)).unwrap();
    for moment in ["before", "after"] {
        assert_eq!(evaluated[moment]["confusion"], figures[moment]["confusion"], "{moment}");
        assert_eq!(evaluated[moment]["log_loss"], figures[moment]["log_loss"], "{moment}");
    }

    let texts = ["--text", "Profit rose by 9 percent", "Sales shrank by 9 percent"];
    let classify = [&["classify", "--adapter", &adapter, "--json"][..], &texts].concat();
    let output = run(&classify);
    assert!(output.status.success(), "{}", stderr(&output));
    let answers: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let probabilities = answers["predictions"][0]["probabilities"].as_object().unwrap();
    let sum: f64 = probabilities.values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{answers}");

    // One answer per line, in order; what stood at OUT is replaced.
    let (input, out) = (path(&folder, "new.csv"), path(&folder, "answers.csv"));
    fs::write(&input, "text\n\"One, with a comma\"\n\nTwo\n").unwrap();
    fs::write(&out, "old").unwrap();
    let output = run(&["classify", "--adapter", &adapter, "--file", &input, "--out", &out]);
    assert!(output.status.success(), "{}", stderr(&output));
    let answers = fs::read_to_string(&out).unwrap();
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(lines.len(), 3, "{answers}");
    assert!(lines[0].starts_with("line,text,label,probability,p("), "{answers}");
    assert!(lines[1].starts_with("2,\"One, with a comma\",") && lines[2].starts_with("4,Two,"), "{answers}");
}

/// Every form is written, checked on rows, and answers as base and adapter do.
#[test]
fn a_classifier_is_taken_away() {
    let folder = folder_with_rows(32, 16);
    let output = run(&as_strs(&train_arguments(&folder, &["--num-train-epochs", "1", "--json"])));
    assert!(output.status.success(), "{}", stderr(&output));
    let (adapter, test) = (path(&folder, "out"), path(&folder, "test.csv"));
    let export = |form: &str, out: &str, more: &[&str]| {
        [&["export", "--adapter", &adapter, "--to", form, "--out", out], more].concat().join("\n")
    };
    for form in ["adapter", "safetensors", "gguf-f16", "gguf-q8_0", "gguf-q4_k"] {
        let out = path(&folder, form);
        let arguments = export(form, &out, &["--test", &test]);
        let exported = figures(&arguments.split('\n').collect::<Vec<_>>());
        assert_eq!((exported["form"].as_str(), exported["parity"]["rows"].as_u64()), (Some(form), Some(16)));
        assert_eq!(exported["parity"]["changed_labels"], 0, "{exported}");
        let report = if Path::new(&out).is_dir() { format!("{out}/parity.json") } else { format!("{out}.parity.json") };
        let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        assert_eq!(report, exported["parity"]);
    }
    let card = fs::read_to_string(path(&folder, "safetensors/README.md")).unwrap();
    assert!(card.contains("| training rows | 32 |") && card.contains("type: accuracy"), "{card}");

    // Nothing is replaced, and forms are named.
    let taken = export("gguf-f16", &path(&folder, "adapter"), &[]);
    let (code, said) = outcome(&taken.split('\n').collect::<Vec<_>>());
    assert!(code == 2 && said.contains("is there already"), "{said}");
    let unknown = export("gguf-q2", &path(&folder, "new"), &[]);
    let (code, said) = outcome(&unknown.split('\n').collect::<Vec<_>>());
    assert!(code == 2 && said.contains("gguf-q4_k") && said.contains("safetensors"), "{said}");

    // A disk that is full, here at 4 MB a file: an error, and nothing is left.
    let before = fs::read_dir(folder.path()).unwrap().count();
    let full = export("gguf-f16", &path(&folder, "full.gguf"), &[]);
    let limited = "trap '' XFSZ; ulimit -f 8192; exec \"$@\"";
    let output = Command::new("sh")
        .args(["-c", limited, "sh", env!("CARGO_BIN_EXE_ayar")])
        .args(full.split('\n'))
        .env("AYAR_BASE_MODEL", base_model())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("full.gguf"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
}

#[test]
fn training_goes_on_from_an_adapter() {
    let folder = folder_with_rows(32, 16);
    let first = figures(&as_strs(&train_arguments(&folder, &["--num_train_epochs", "1", "--r", "4"])));
    let (out, second) = (path(&folder, "out"), path(&folder, "second"));
    let more = ["--num_train_epochs", "1", "--adapter", &out, "--out", &second];
    let arguments: Vec<String> = train_arguments(&folder, &more);
    // The second --out takes the place of the first.
    let at = arguments.iter().position(|word| word == "--out").unwrap();
    let arguments = [&arguments[..at], &arguments[at + 2..]].concat();
    let output = run(&as_strs(&arguments));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("goes on from the adapter") && stderr(&output).contains("rank 4"));
    let further: Value = serde_json::from_slice(&fs::read(path(&folder, "second/figures.json")).unwrap()).unwrap();
    assert_eq!(further["before"]["log_loss"], first["after"]["log_loss"]);
    assert_eq!((&further["spec"]["r"], &first["start_from"]), (&4.into(), &Value::Null));
    assert!(further["start_from"].as_str().unwrap().contains("out"), "{further}");

    let (code, said) = outcome(&as_strs(&train_arguments(&folder, &["--adapter", "nowhere"])));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--adapter: nowhere holds no adapter_config.json"), "{said}");
}

/// As other programs leave it: PEFT's two files, and nothing on labels and prompt.
#[test]
fn an_adapter_of_another_program_is_told_its_labels_and_prompt() {
    let folder = folder_with_rows(32, 16);
    let own_prompt = ["--prompt_template", "What is it? {text} ->", "--max_length", "64"];
    let first = figures(&as_strs(&train_arguments(&folder, &[&own_prompt[..], &["--num_train_epochs", "1"]].concat())));
    let (own, foreign, test) = (path(&folder, "out/adapter"), path(&folder, "foreign"), path(&folder, "test.csv"));
    fs::create_dir(&foreign).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(format!("{own}/{file}"), format!("{foreign}/{file}")).unwrap();
    }
    let columns = ["--text-column", "text", "--label-column", "label"];
    let evaluate = [&["evaluate", "--adapter", &foreign, "--data", &test][..], &columns].concat();
    let (code, said) = outcome(&evaluate);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--labels: ") && said.contains("no classifier.json"), "{said}");
    let (code, said) = outcome(&[&evaluate[..], &["--labels", "up, up"]].concat());
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("a name of its own"), "{said}");

    // In the order in which the run had them.
    let labels: Vec<&str> = first["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
    let labels = labels.join(", ");
    let told = [&["--labels", &labels][..], &own_prompt].concat();
    let evaluated = figures(&[&evaluate[..], &told].concat());
    for moment in ["before", "after"] {
        assert_eq!(evaluated[moment]["log_loss"], first[moment]["log_loss"], "{moment}");
    }
    let classify = ["classify", "--text", "Profit rose by 9 percent", "--adapter"];
    let answers = figures(&[&classify[..], &[&foreign], &told].concat());
    assert_eq!(answers["predictions"], figures(&[&classify[..], &[&own]].concat())["predictions"]);
    // What says all this itself is not told otherwise.
    let (code, said) = outcome(&[&classify[..], &[&own], &told].concat());
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("has a classifier.json"), "{said}");
}

/// Ctrl-C writes a checkpoint, and kill -9 leaves the last one: the same command then reaches the figures of a run that
/// was never disturbed.
#[test]
fn an_interrupted_run_ends_where_an_undisturbed_one_does() {
    let more = ["--num_train_epochs", "6", "--save_steps", "2", "--lora_dropout", "0.1", "--json"];
    let undisturbed = folder_with_rows(64, 16);
    let output = run(&as_strs(&train_arguments(&undisturbed, &more)));
    assert!(output.status.success(), "{}", stderr(&output));
    let wanted: Value = serde_json::from_str(&stdout(&output)).unwrap();

    let folder = folder_with_rows(64, 16);
    let arguments = train_arguments(&folder, &more);
    for signal in ["-INT", "-KILL"] {
        let mut child = ayar(&as_strs(&arguments)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        let seen = checkpoints(&folder);
        // Until this process has written a checkpoint of its own.
        while checkpoints(&folder) == seen && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(120), "no checkpoint in {}", folder.path().display());
            std::thread::sleep(Duration::from_millis(5));
        }
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success());
        if signal == "-INT" {
            assert_eq!(status.code(), Some(1));
        }
    }
    let output = run(&as_strs(&arguments));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("going on from"), "{}", stderr(&output));
    let reached: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(reached["final_loss"], wanted["final_loss"]);
    assert_eq!(reached["after"]["log_loss"], wanted["after"]["log_loss"]);
}

/// Names and times of everything in the run's folder.
fn checkpoints(folder: &TempDir) -> Vec<(PathBuf, Option<std::time::SystemTime>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.path().join("out")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains("checkpoint") {
                found.push((path, entry.metadata().and_then(|known| known.modified()).ok()));
            }
        }
    }
    found.sort();
    found
}

/// The figures of one command with `--json`.
fn figures(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("one JSON object on stdout")
}

const SMALL_SUBJECT: [&str; 8] = ["--preset", "tohum-16m", "--rank", "8", "--device", "cpu", "--limit-rows", "16"];

#[test]
fn steps_of_several_sizes_are_timed_on_one_model() {
    let own = ["bench", "training", "--rows", "2,4", "--steps", "2", "--repeat", "2"];
    let arguments = [&own[..], &SMALL_SUBJECT].concat();
    let measured = figures(&arguments);
    assert_eq!(measured["request"]["preset"], "tohum-16m");
    assert_eq!(measured["request"]["rank"], 8);
    assert_eq!(measured["request"]["rows_per_step"], serde_json::json!([2, 4]));
    assert_eq!(measured["request"]["rows"], serde_json::json!({ "source": "synthetic", "train": 16, "test": 16 }));
    let lines = measured["training"].as_array().unwrap();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(line["runs"].as_array().unwrap().len(), 2);
        for rate in ["rows_per_second", "tokens_per_second", "milliseconds", "share_of_matmul_rate"] {
            assert!(line["median"][rate].as_f64() > Some(0.0), "{rate}: {line}");
        }
        let (lowest, highest) = (&line["lowest_rows_per_second"], &line["highest_rows_per_second"]);
        assert!(lowest.as_f64() <= highest.as_f64(), "{line}");
    }

    let output = run(&arguments);
    let (table, progress) = (stdout(&output), stderr(&output));
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("tohum-16m, 19 million parameters, rank 8, nf4, on CPU, "), "{table}");
    assert!(lines[2].contains("rows per step") && lines[2].contains("lowest-highest"), "{table}");
    assert!(lines[3].trim_start().starts_with("2 ") && lines[4].trim_start().starts_with("4 "), "{table}");
    assert_eq!(lines.len(), 5, "{table}");
    assert!(progress.contains("training, 4 a step: 16/16 rows"), "{progress}");
}

#[test]
fn scoring_and_a_whole_experiment_are_timed() {
    let evaluation = [&["bench", "evaluation", "--repeat", "2"][..], &SMALL_SUBJECT].concat();
    let measured = figures(&evaluation);
    for rate in ["rows_per_second", "tokens_per_second", "milliseconds", "share_of_matmul_rate"] {
        assert!(measured["evaluation"][rate].as_f64() > Some(0.0), "{rate}: {measured}");
    }
    let (code, said) = outcome(&evaluation);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("scoring 16 rows") && said.contains("fastest-slowest"), "{said}");

    // 16 rows in steps of 6 are 3 steps an epoch.
    let experiment = [&["bench", "experiment", "--rows", "6", "--epochs", "2"][..], &SMALL_SUBJECT].concat();
    let measured = figures(&experiment);
    let parts = &measured["experiment"];
    assert_eq!(parts["steps"], 6);
    let seconds = ["before_seconds", "training_seconds", "after_seconds"].map(|part| parts[part].as_f64().unwrap());
    assert!(seconds.iter().all(|&seconds| seconds > 0.0), "{measured}");
    assert!((parts["seconds"].as_f64().unwrap() - seconds.iter().sum::<f64>()).abs() < 1e-9, "{measured}");
    let (code, said) = outcome(&experiment);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("training, 2 x 16 rows in 6 steps of 6"), "{said}");
}

#[test]
fn measurements_that_cannot_be_made_end_with_2_and_say_why() {
    for (arguments, words) in [
        (&["training", "--preset", "llama-9"][..], "tohum-16m, llama-3.2-1b, llama-3-8b, llama-3-70b"),
        (&["training", "--rows", "8,0"], "1..=4096"),
        (&["training", "--steps", "10001"], "1..=10000"),
        (&["evaluation", "--rank", "0"], "1..=1024"),
        (&["evaluation", "--quantization", "int8"], "quantization"),
        (&["evaluation", "--memory-gib", "0"], "above 0"),
        (&["evaluation", "--memory-gib", "24", "--device", "cpu"], "about a GPU's memory"),
        (&["experiment", "--limit-rows", "0"], "--limit-rows"),
        (&["experiment", "--tokens", "nowhere.safetensors"], "--test-tokens"),
        (
            &[
                "training",
                "--preset",
                "tohum-16m",
                "--tokens",
                "nowhere.safetensors",
                "--test-tokens",
                "nowhere.safetensors",
            ],
            "nowhere.safetensors does not exist",
        ),
        (&["loading", "--checkpoint", "nowhere"], "nowhere does not exist"),
        // The recipe's own arguments and a subcommand are one too many.
        (&["--data", "rows.csv", "training"], "training"),
        (&[], "--train"),
    ] {
        let (code, said) = outcome(&[&["bench"], arguments].concat());
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn kernels_are_held_against_their_limit() {
    let measured = figures(&["bench", "kernels", "--device", "cpu"]);
    let product = &measured["kernels"][0];
    assert!(product["microseconds"].as_f64() > Some(0.0), "{measured}");
    assert_eq!(product["share_of_limit"], 1.0);
}

#[test]
fn a_run_is_made_again_from_its_manifest_and_refused_where_something_changed() {
    let folder = folder_with_rows(24, 12);
    let events = path(&folder, "events");
    let more = ["--num_train_epochs", "1", "--r", "4", "--device", "cpu", "--json", "--tensorboard", &events];
    let first = run(&as_strs(&train_arguments(&folder, &more)));
    assert!(first.status.success(), "{}", stderr(&first));
    let manifest = path(&folder, "out/manifest.json");
    assert_eq!(fs::read_dir(&events).unwrap().count(), 1);

    let again = path(&folder, "again");
    let arguments = ["train", "--manifest", &manifest, "--out", &again, "--device", "cpu", "--json"];
    let second = run(&arguments);
    assert!(second.status.success(), "{}", stderr(&second));
    let figures = |output: &Output| -> Value { serde_json::from_str(&stdout(output)).unwrap() };
    let (first, second) = (figures(&first), figures(&second));
    for same in ["final_loss", "steps", "labels", "spec"] {
        assert_eq!(first[same], second[same], "{same}");
    }
    let adapter = |out: &str| fs::read(path(&folder, out).to_string() + "/adapter/adapter_model.safetensors").unwrap();
    assert_eq!(adapter("out"), adapter("again"));

    let third = path(&folder, "third");
    let refused = |more: &[&str]| {
        let arguments = [&["train", "--manifest", &manifest, "--out", &third, "--device", "cpu"], more].concat();
        let (code, words) = outcome(&arguments);
        assert_ne!(code, 0);
        words
    };
    assert!(refused(&["--r", "8"]).contains("whole recipe"));
    assert!(refused(&["--train", "x.csv"]).contains("cannot be used with"));
    write_rows(&path(&folder, "test.csv"), 14);
    assert!(refused(&[]).contains("The test part has 14 rows, where the manifest has 12"));
    let other = fs::read_to_string(&manifest).unwrap().replace("\"hash\": \"", "\"hash\": \"0");
    fs::write(&manifest, other).unwrap();
    assert!(refused(&[]).contains("--model:"));
    fs::write(&manifest, "{}").unwrap();
    assert!(refused(&[]).contains("is no manifest"));
}
