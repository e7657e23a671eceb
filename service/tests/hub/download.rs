//! Downloads: whole, checked, once; what is there is kept whatever happens.

use crate::server::{HubOptions, Trouble};
use crate::support::{Place, address, bytes_of, download, first_byte, hurry, noise, objects};
use domain::error::{ErrorKind, UserError};
use domain::hub::FileState;
use service::hub::{Download, HubError, Patience};
use sha2::{Digest, Sha256};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

const MEGABYTE: usize = 1 << 20;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn folder(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_model_comes_whole_in_the_layout_of_huggingface_hub() {
    let place = Place::new();
    let weights = noise(MEGABYTE, 1);
    let commit = place.put_model(&weights);
    let mut states = Vec::new();
    let done = place.hub().download(&address("ada/tiny"), &mut |files| {
        states.push(files.iter().map(|file| file.state).collect::<Vec<_>>());
        if let Some(weights) = files.iter().find(|file| file.name == "model.safetensors") {
            assert_eq!(weights.bytes, MEGABYTE as u64);
        }
        ControlFlow::Continue(())
    });

    let repository = place.cache().join("models--ada--tiny");
    let snapshot = repository.join("snapshots").join(&commit);
    assert_eq!(done.unwrap(), Download::Complete { path: snapshot.clone(), commit: commit.clone() });
    assert_eq!(folder(&repository), ["blobs", "refs", "snapshots"]);
    assert_eq!(folder(&snapshot), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert!(fs::read(snapshot.join("model.safetensors")).unwrap() == weights);
    assert_eq!(fs::read_to_string(repository.join("refs/main")).unwrap(), commit);
    // Large files by their SHA-256, others as `git hash-object` names them: `{}` is this one.
    let link = |name: &str| fs::read_link(snapshot.join(name)).unwrap();
    assert_eq!(link("model.safetensors"), Path::new("../../blobs").join(sha256(&weights)));
    assert_eq!(link("tokenizer.json"), Path::new("../../blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b"));
    assert_eq!(folder(&repository.join("blobs")).len(), 3);
    assert_eq!(folder(&place.cache().join(".locks/models--ada--tiny")).len(), 3);

    let first = states.iter().find(|states| !states.is_empty()).unwrap();
    assert_eq!(*first, [FileState::Waiting; 3]);
    assert_eq!(*states.last().unwrap(), [FileState::Done; 3]);
    assert!(states.iter().any(|states| states.contains(&FileState::Verifying)));
}

#[test]
fn what_is_in_the_cache_is_not_fetched_again() {
    let place = Place::new();
    place.put_model(&noise(1000, 1));
    let first = download(&place.hub(), "ada/tiny").unwrap();
    place.server.seen();

    assert_eq!(download(&place.hub(), "ada/tiny").unwrap(), first);
    let paths: Vec<String> = place.server.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/api/models/ada/tiny/revision/main?blobs=true"]);

    // A new commit that changes one file fetches that file.
    let weights = noise(1000, 2);
    let commit = place.put_model(&weights);
    let (path, second) = download(&place.hub(), "ada/tiny").unwrap();
    assert_eq!((second, fs::read(path.join("model.safetensors")).unwrap()), (commit, weights));
    assert_eq!(place.server.seen().iter().filter(|seen| seen.path.contains("/resolve/")).count(), 1);
    assert!(first.0.join("model.safetensors").exists());
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let place = Place::new();
    let weights = noise(3 * MEGABYTE, 1);
    place.put_model(&weights);
    place.server.trouble("/objects/", Trouble::CutAfter(MEGABYTE), 1);
    let (path, _) = download(&place.hub(), "ada/tiny").unwrap();

    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
    let seen = place.server.seen();
    let [cut, rest] = objects(&seen)[..] else { panic!("{seen:?}") };
    assert_eq!(cut.sent_bytes(), MEGABYTE as u64);
    assert!(first_byte(rest) > 0);
    assert_eq!(rest.sent_bytes(), weights.len() as u64 - first_byte(rest));
}

#[test]
fn a_connection_on_which_nothing_comes_is_given_up_and_taken_up() {
    let place = Place::new();
    let weights = noise(MEGABYTE, 1);
    place.put_model(&weights);
    place.server.trouble("/objects/", Trouble::StallAfter(MEGABYTE / 2), 1);
    let (path, _) = download(&place.hub(), "ada/tiny").unwrap();
    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
    assert_eq!(objects(&place.server.seen()).iter().filter(|seen| first_byte(seen) > 0).count(), 1);
}

#[test]
fn a_line_that_always_breaks_is_enough_as_long_as_it_brings_something() {
    let place = Place::new();
    let weights = noise(MEGABYTE, 1);
    place.put_model(&weights);
    place.server.trouble("/objects/", Trouble::CutAfter(MEGABYTE / 10), usize::MAX);
    let (path, _) = download(&place.hub(), "ada/tiny").unwrap();
    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
}

#[test]
fn patience_ends_and_the_next_download_goes_on() {
    let place = Place::new();
    let weights = noise(MEGABYTE, 1);
    place.put_model(&weights);
    place.server.trouble("/objects/", Trouble::CutAfter(MEGABYTE / 2), 1);
    place.server.trouble("/objects/", Trouble::CutAfter(0), usize::MAX);
    let error = download(&place.hub(), "ada/tiny").unwrap_err();
    let HubError::Interrupted { file, done_bytes, bytes, .. } = &error else { panic!("{error}") };
    assert_eq!((file.as_str(), *bytes), ("model.safetensors", MEGABYTE as u64));
    assert!(*done_bytes > 0);
    assert!(error.to_string().contains("goes on from there"), "{error}");
    assert_eq!(place.hub().cached(&address("ada/tiny")), None);
    // The first attempt and three more behind the one that brought something.
    assert_eq!(objects(&place.server.seen()).len(), 4);
    let told = UserError::from(error);
    assert_eq!(told.kind, ErrorKind::Busy);

    place.server.no_more_trouble();
    let (path, _) = download(&place.hub(), "ada/tiny").unwrap();
    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
    let seen = place.server.seen();
    assert!(objects(&seen).iter().all(|seen| first_byte(seen) > 0));
}

#[test]
fn troubles_of_the_hub_that_pass_are_waited_out() {
    let place = Place::new();
    place.put_model(&noise(1000, 1));
    for on in ["/api/models/", "/resolve/", "/objects/"] {
        place.server.trouble(on, Trouble::Status(503), 2);
    }
    download(&place.hub(), "ada/tiny").unwrap();

    place.server.trouble("/api/models/", Trouble::Status(500), usize::MAX);
    let error = download(&place.hub(), "ada/tiny").unwrap_err();
    assert!(matches!(error, HubError::Trouble { status: 500, .. }), "{error}");
}

#[test]
fn a_server_that_sends_all_instead_of_the_rest_is_understood() {
    let place = Place::new();
    let weights = noise(MEGABYTE, 1);
    place.put_model(&weights);
    place.server.trouble("/objects/", Trouble::CutAfter(MEGABYTE / 2), 1);
    place.server.trouble("/objects/", Trouble::IgnoreRange, 1);
    let (path, _) = download(&place.hub(), "ada/tiny").unwrap();
    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
    assert_eq!(objects(&place.server.seen()).len(), 2);
}

#[test]
fn content_with_another_hash_is_thrown_away() {
    for (on, name) in [("/objects/", "model.safetensors"), ("/tokenizer.json", "tokenizer.json")] {
        let place = Place::new();
        let weights = noise(1000, 1);
        place.put_model(&weights);
        place.server.trouble(on, Trouble::WrongByte, 1);
        let error = download(&place.hub(), "ada/tiny").unwrap_err();
        assert!(matches!(&error, HubError::WrongHash { file } if file == name), "{error}");
        let request = place.server.seen().into_iter().find(|seen| seen.path.contains(on)).unwrap();
        assert!(request.sent_bytes() > 0);
        assert_eq!(place.hub().cached(&address("ada/tiny")), None);

        place.server.seen();
        let (path, _) = download(&place.hub(), "ada/tiny").unwrap();
        assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
        let again = place.server.seen().into_iter().find(|seen| seen.path.contains(on)).unwrap();
        assert_eq!(again.range, None, "nothing of it was kept");
    }
}

#[test]
fn a_beginning_that_is_not_the_files_own_is_found_out_and_thrown_away() {
    let place = Place::new();
    let weights = noise(1000, 1);
    place.put_model(&weights);
    let part = place.blob(&format!("{}.incomplete", sha256(&weights)));
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(&part, noise(500, 2)).unwrap();
    assert!(matches!(download(&place.hub(), "ada/tiny"), Err(HubError::WrongHash { .. })));
    assert!(!part.exists());

    // One that is longer than the file can be dropped at once.
    fs::write(&part, noise(2000, 2)).unwrap();
    let (path, _) = download(&place.hub(), "ada/tiny").unwrap();
    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
}

#[test]
fn a_download_stops_within_a_second_and_goes_on_later() {
    let place = Place::with(HubOptions { bytes_per_second: Some(2_000_000), ..HubOptions::default() });
    let weights = noise(MEGABYTE, 1);
    place.put_model(&weights);
    let mut stopped = None;
    let done = place.hub().download(&address("ada/tiny"), &mut |files| {
        if bytes_of(files) < 200_000 {
            return ControlFlow::Continue(());
        }
        stopped = Some(Instant::now());
        ControlFlow::Break(())
    });
    assert_eq!(done.unwrap(), Download::Stopped);
    assert!(stopped.unwrap().elapsed() < Duration::from_secs(1));
    assert_eq!(place.hub().cached(&address("ada/tiny")), None);
    place.server.seen();

    let (path, _) = download(&place.hub(), "ada/tiny").unwrap();
    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
    let seen = place.server.seen();
    let [rest] = objects(&seen)[..] else { panic!("{seen:?}") };
    assert!(first_byte(rest) >= 200_000, "{rest:?}");
}

#[test]
fn it_stops_also_while_nothing_comes() {
    let place = Place::new();
    place.put_model(&noise(MEGABYTE, 1));
    place.server.trouble("/objects/", Trouble::StallAfter(MEGABYTE / 2), 1);
    let hub = place.hub().with_patience(Patience { stall: Duration::from_secs(60), ..hurry() });
    let begin = Instant::now();
    let done = hub.download(&address("ada/tiny"), &mut |_| match begin.elapsed() > Duration::from_millis(300) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    assert_eq!(done.unwrap(), Download::Stopped);
    assert!(begin.elapsed() < Duration::from_millis(1300), "{:?}", begin.elapsed());
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let place = Place::new();
    place.put_model(&noise(1000, 1));
    download(&place.hub_of(Some(crate::server::READER)), "ada/tiny").unwrap();
    let seen = place.server.seen();
    assert!(seen.iter().filter(|seen| seen.at_hub).all(|seen| seen.with_token));
    assert!(objects(&seen).iter().all(|seen| !seen.with_token) && !objects(&seen).is_empty());
}

#[test]
fn revisions_are_branches_tags_and_commits() {
    let place = Place::new();
    let (old, new) = (noise(1000, 1), noise(1000, 2));
    let first = place.put_model(&old);
    place.put_model(&new);
    place.server.set_revision("ada/tiny", "refs/pr/1", &first);
    for revision in ["refs/pr/1", &first, "main"] {
        let (path, _) = download(&place.hub(), &format!("ada/tiny@{revision}")).unwrap();
        let expected = if revision == "main" { &new } else { &old };
        assert_eq!(&fs::read(path.join("model.safetensors")).unwrap(), expected, "{revision}");
        assert_eq!(place.hub().cached(&address(&format!("ada/tiny@{revision}"))), Some(path));
    }
    let refs = place.cache().join("models--ada--tiny/refs");
    assert_eq!(folder(&refs), ["main", "refs"]);
    assert_eq!(fs::read_to_string(refs.join("refs/pr/1")).unwrap(), first);
}

#[test]
fn a_gguf_file_comes_alone_from_its_folder() {
    let place = Place::new();
    let weights = noise(1000, 1);
    let commit = place.server.put("ada/quantised", &[("q4/m x.gguf", &weights), ("q8.gguf", &noise(1000, 2))]);
    let (path, _) = download(&place.hub(), "ada/quantised/q4/m x.gguf").unwrap();
    let snapshot = place.cache().join("models--ada--quantised/snapshots").join(commit);
    assert_eq!(path, snapshot.join("q4/m x.gguf"));
    assert_eq!(fs::read(&path).unwrap(), weights);
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("../../../blobs").join(sha256(&weights)));
    assert_eq!(place.hub().cached(&address("ada/quantised/q4/m x.gguf")), Some(path));
    assert_eq!(place.hub().cached(&address("ada/quantised/q8.gguf")), None);
    assert!(!snapshot.join("q8.gguf").exists());
}

#[test]
fn empty_files_are_files_too() {
    let place = Place::new();
    place.put_model(b"");
    let (path, _) = download(&place.hub(), "ada/tiny").unwrap();
    assert_eq!(fs::read(path.join("model.safetensors")).unwrap(), b"");
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused() {
    let place = Place::new();
    let index = br#"{"weight_map": {"x": "../../../../evil.safetensors"}}"#;
    let mut files: Vec<(&str, &[u8])> = vec![
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("../../../../evil.safetensors", b"evil"),
        ("a\\..\\evil.safetensors", b"evil"),
    ];
    place.server.put("eve/plain", &files);
    files.push(("model.safetensors.index.json", index));
    place.server.put("eve/indexed", &files);
    for repo in ["eve/plain", "eve/indexed"] {
        let error = download(&place.hub(), repo).unwrap_err();
        assert!(matches!(error, HubError::Unsuitable(_)), "{error}");
    }
    assert_eq!(folder(place.path()), Vec::<String>::new());
}

#[test]
fn weights_in_pickles_are_refused_in_words() {
    let place = Place::new();
    place.server.put("ada/old", &[("config.json", b"{}"), ("tokenizer.json", b"{}"), ("pytorch_model.bin", b"x")]);
    let error = download(&place.hub(), "ada/old").unwrap_err();
    assert!(error.to_string().contains("Python pickles"), "{error}");
}

#[test]
fn a_full_disk_is_told_and_keeps_what_is_there() {
    let place = Place::new();
    let weights = noise(1000, 1);
    place.put_model(&weights);
    let part = place.blob(&format!("{}.incomplete", sha256(&weights)));
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    // The device on which every write fails for want of room.
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let error = download(&place.hub(), "ada/tiny").unwrap_err();
    assert!(matches!(error, HubError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("The disk is full"), "{error}");
    fs::remove_file(&part).unwrap();
    download(&place.hub(), "ada/tiny").unwrap();
}

#[test]
fn two_at_once_fetch_every_file_once() {
    let place = Place::with(HubOptions { bytes_per_second: Some(4_000_000), ..HubOptions::default() });
    place.put_model(&noise(MEGABYTE, 1));
    let fetch = || download(&place.hub(), "ada/tiny").unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(fetch);
        assert_eq!(fetch(), other.join().unwrap());
    });
    assert_eq!(objects(&place.server.seen()).len(), 1);
}
