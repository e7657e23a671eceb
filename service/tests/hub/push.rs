//! Uploads: contents first, then one commit; nothing twice.

use crate::server::{Access, HubOptions, READER, STRANGER, Seen, Trouble, WRITER};
use crate::support::{Place, address, download, noise};
use service::hub::{Hub, HubError, PushRequest, Pushed};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const REPO: &str = "team/classifier";

/// The files of an adapter, on the disk.
fn adapter(place: &Place, weights: &[u8]) -> Vec<(String, PathBuf)> {
    let folder = place.path().join("adapter");
    fs::create_dir_all(&folder).unwrap();
    let contents: [(&str, &[u8]); 4] = [
        ("adapter_config.json", br#"{"peft_type": "LORA"}"#),
        ("adapter_model.safetensors", weights),
        ("classifier.json", b"{}"),
        ("README.md", b""),
    ];
    let write = |(name, bytes): (&str, &[u8])| {
        fs::write(folder.join(name), bytes).unwrap();
        (name.to_owned(), folder.join(name))
    };
    contents.into_iter().map(write).collect()
}

fn push(hub: &Hub, files: Vec<(String, PathBuf)>) -> Result<Pushed, HubError> {
    hub.push(&PushRequest::new(REPO, "A classifier\n\nTrained here.", files), &mut |_| ControlFlow::Continue(()))
}

fn uploads(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| seen.method == "PUT").count()
}

#[test]
fn a_push_makes_a_private_repository_and_one_commit() {
    let place = Place::new();
    let weights = noise(200_000, 1);
    let files = adapter(&place, &weights);
    let mut done = BTreeMap::new();
    let pushed = place.hub_of(Some(WRITER)).push(&PushRequest::new(REPO, "A classifier", files.clone()), &mut |file| {
        done.insert(file.name.clone(), (file.done_bytes, file.bytes));
        ControlFlow::Continue(())
    });

    let pushed = pushed.unwrap();
    assert_eq!(pushed.url, format!("{}/{REPO}", place.server.endpoint()));
    assert_eq!(place.server.access(REPO), Access::Private);
    // The empty beginning and ours.
    assert_eq!(place.server.commits(REPO).len(), 2);
    assert_eq!(place.server.commits(REPO).last(), Some(&pushed.commit));
    let expected: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(name, path)| (name.clone(), fs::read(path).unwrap())).collect();
    assert!(place.server.files(REPO, "main") == expected);
    assert_eq!(done.len(), 4);
    assert!(done.values().all(|(done, all)| done == all), "{done:?}");
    let seen = place.server.seen();
    assert_eq!(uploads(&seen), 1);
    assert!(seen.iter().all(|seen| seen.with_token == seen.at_hub), "{seen:?}");

    // What comes back is what went.
    let (path, commit) = download(&place.hub_of(Some(READER)), REPO).unwrap();
    assert_eq!(commit, pushed.commit);
    for name in ["adapter_config.json", "adapter_model.safetensors", "classifier.json"] {
        assert_eq!(fs::read(path.join(name)).unwrap(), expected[name]);
    }
    assert!(matches!(download(&place.hub_of(Some(STRANGER)), REPO), Err(HubError::NotFound(_))));
}

#[test]
fn what_the_hub_has_is_not_sent_again() {
    let place = Place::new();
    let hub = place.hub_of(Some(WRITER));
    let first = push(&hub, adapter(&place, &noise(200_000, 1))).unwrap();
    place.server.seen();

    assert_eq!(push(&hub, adapter(&place, &noise(200_000, 1))).unwrap(), first);
    let seen = place.server.seen();
    assert_eq!(uploads(&seen), 0);
    assert!(!seen.iter().any(|seen| seen.path.contains("/commit/") || seen.path.contains("/batch")));

    let mut other = adapter(&place, &noise(200_000, 1));
    other.push(("copy.safetensors".to_owned(), other[1].1.clone()));
    let second = push(&hub, other).unwrap();
    assert_ne!(second.commit, first.commit);
    assert_eq!(uploads(&place.server.seen()), 0, "the same content under another name");
    assert_eq!(place.server.files(REPO, "main").len(), 5);
}

#[test]
fn large_files_go_in_parts_where_the_hub_wants_it() {
    let place = Place::with(HubOptions { multipart_from: 100_000, part_bytes: 30_000, ..HubOptions::default() });
    let weights = noise(200_000, 1);
    place.server.trouble("/uploads/", Trouble::Status(500), 2);
    push(&place.hub_of(Some(WRITER)), adapter(&place, &weights)).unwrap();
    assert!(place.server.files(REPO, "main")["adapter_model.safetensors"] == weights);
    assert_eq!(uploads(&place.server.seen()), 7 + 2);
}

#[test]
fn a_push_that_fails_on_the_way_changes_nothing_and_goes_on_later() {
    let place = Place::new();
    let hub = place.hub_of(Some(WRITER));
    let first = push(&hub, adapter(&place, &noise(1000, 1))).unwrap();
    let before = place.server.files(REPO, "main");

    let mut files = adapter(&place, &noise(1000, 2));
    let second = place.path().join("second");
    fs::write(&second, noise(1000, 3)).unwrap();
    files.push(("second.safetensors".to_owned(), second));
    place.server.seen();
    place.server.trouble("/commit/", Trouble::Status(500), 1);
    let error = push(&hub, files.clone()).unwrap_err();
    assert!(matches!(error, HubError::Trouble { .. }), "{error}");
    assert_eq!(uploads(&place.server.seen()), 2);
    assert!(place.server.files(REPO, "main") == before);
    assert_eq!(place.server.commits(REPO).last(), Some(&first.commit));

    push(&hub, files).unwrap();
    assert_eq!(uploads(&place.server.seen()), 0, "the contents are there already");
    assert_eq!(place.server.files(REPO, "main").len(), 5);
}

#[test]
fn storage_that_fails_for_good_is_told() {
    let place = Place::new();
    place.server.trouble("/uploads/", Trouble::Status(500), usize::MAX);
    let error = push(&place.hub_of(Some(WRITER)), adapter(&place, &noise(1000, 1))).unwrap_err();
    assert!(matches!(error, HubError::Trouble { status: 500, .. }), "{error}");
    assert!(place.server.files(REPO, "main").is_empty());
    place.server.no_more_trouble();
    place.server.trouble("/uploads/", Trouble::Status(403), usize::MAX);
    let error = push(&place.hub_of(Some(WRITER)), adapter(&place, &noise(1000, 1))).unwrap_err();
    assert!(matches!(error, HubError::Refused { status: 403, .. }), "{error}");
}

#[test]
fn a_branch_that_moved_meanwhile_is_not_run_over() {
    // Slow enough that somebody else comes in between.
    let place = Place::with(HubOptions { bytes_per_second: Some(600_000), ..HubOptions::default() });
    let hub = place.hub_of(Some(WRITER));
    push(&hub, adapter(&place, &noise(1000, 1))).unwrap();
    place.server.seen();
    let request = PushRequest::new(REPO, "Again", adapter(&place, &noise(300_000, 2)));
    let mut others = None;
    let error = hub.push(&request, &mut |_| {
        if others.is_none() && uploads(&place.server.seen()) > 0 {
            others = Some(place.server.put(REPO, &[("notes.txt", b"somebody else was here")]));
        }
        ControlFlow::Continue(())
    });
    let error = error.unwrap_err();
    assert!(matches!(error, HubError::Moved { .. }), "{error}");
    assert_eq!(place.server.commits(REPO).last(), others.as_ref());
    push(&hub, request.files).unwrap();
    assert!(place.server.files(REPO, "main").contains_key("notes.txt"));
}

#[test]
fn a_push_stops_within_a_second_and_changes_nothing() {
    let place = Place::with(HubOptions { bytes_per_second: Some(100_000), ..HubOptions::default() });
    let hub = place.hub_of(Some(WRITER));
    let request = PushRequest::new(REPO, "A classifier", adapter(&place, &noise(1_000_000, 1)));
    let begin = Instant::now();
    let stopped = hub.push(&request, &mut |_| match begin.elapsed() > Duration::from_millis(300) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    assert!(matches!(stopped, Err(HubError::Stopped)));
    assert!(begin.elapsed() < Duration::from_millis(1300), "{:?}", begin.elapsed());
    assert!(place.server.files(REPO, "main").is_empty());
}

#[test]
fn who_may_not_write_is_told() {
    let place = Place::new();
    let files = adapter(&place, &noise(1000, 1));
    let error = push(&place.hub(), files.clone()).unwrap_err();
    assert!(error.to_string().contains("token with the right to write"), "{error}");
    assert!(place.server.seen().is_empty());
    let error = push(&place.hub_of(Some(READER)), files.clone()).unwrap_err();
    assert!(matches!(&error, HubError::Refused { status: 403, message } if message.contains("rights")), "{error}");
    let error = push(&place.hub_of(Some("hf_mistyped")), files).unwrap_err();
    assert!(matches!(error, HubError::TokenInvalid { .. }), "{error}");
}

#[test]
fn a_public_repository_is_made_on_request_and_one_that_exists_stays_as_it_is() {
    let place = Place::new();
    let hub = place.hub_of(Some(WRITER));
    let files = adapter(&place, &noise(1000, 1));
    let public = PushRequest { private: false, ..PushRequest::new(REPO, "Public", files) };
    hub.push(&public, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(place.server.access(REPO), Access::Open);
    push(&hub, adapter(&place, &noise(1000, 2))).unwrap();
    assert_eq!(place.server.access(REPO), Access::Open);

    let files = adapter(&place, &noise(1000, 3));
    let branch = PushRequest { revision: "absent".to_owned(), ..PushRequest::new(REPO, "To a branch", files) };
    let error = hub.push(&branch, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("no such branch"), "{error}");
    place.server.set_revision(REPO, "absent", place.server.commits(REPO).last().unwrap());
    let pushed = hub.push(&branch, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(pushed.url, format!("{}/{REPO}/tree/absent", place.server.endpoint()));
    let weights = |revision: &str| place.server.files(REPO, revision)["adapter_model.safetensors"].clone();
    assert!(weights("absent") == noise(1000, 3) && weights("main") == noise(1000, 2));
    assert!(place.hub_of(Some(WRITER)).check(&address(&format!("{REPO}@absent"))).unwrap().problems.is_empty());
}

#[test]
fn what_cannot_be_pushed_is_refused_before_anything_is_asked() {
    let place = Place::new();
    let hub = place.hub_of(Some(WRITER));
    let file = adapter(&place, b"x").remove(0).1;
    let push_as = |name: &str| push(&hub, vec![(name.to_owned(), file.clone())]).unwrap_err();
    for hostile in ["", "/etc/passwd", "../x", "a//b", ".git/config", "a\nb"] {
        assert!(matches!(push_as(hostile), HubError::Invalid(_)), "{hostile}");
    }
    assert!(matches!(push(&hub, Vec::new()), Err(HubError::Invalid(_))));
    let twice = vec![("a".to_owned(), file.clone()), ("a".to_owned(), file.clone())];
    assert!(matches!(push(&hub, twice), Err(HubError::Invalid(_))));
    let absent = push(&hub, vec![("a".to_owned(), place.path().join("absent"))]).unwrap_err();
    assert!(matches!(absent, HubError::Io { .. }), "{absent}");
    assert!(place.server.seen().is_empty());
}
