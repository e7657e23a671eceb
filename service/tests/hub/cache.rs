//! The cache, which belongs to Python as well.

use crate::support::{Place, address, download, noise};
use service::hub::HubError;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

/// As `snapshot_download` leaves it: notes first, then each file's blob and link.
fn put_by_python(place: &Place, commit: &str, files: &[(&str, &str, &[u8])]) {
    let repository = place.cache().join("models--ada--tiny");
    let snapshot = repository.join("snapshots").join(commit);
    for folder in [repository.join("refs"), repository.join("blobs"), repository.join("trees"), snapshot.clone()] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(repository.join("refs/main"), commit).unwrap();
    fs::write(place.cache().join("CACHEDIR.TAG"), "").unwrap();
    for (name, blob, bytes) in files {
        fs::write(repository.join("blobs").join(blob), bytes).unwrap();
        symlink(Path::new("../../blobs").join(blob), snapshot.join(name)).unwrap();
    }
}

/// The names are what `git hash-object` and `sha256sum` print for these contents.
const PYTHON_FILES: [(&str, &str, &[u8]); 3] = [
    ("config.json", "0967ef424bce6791893e9a57bb952f80fd536e93", b"{}\n"),
    ("tokenizer.json", "9e26dfeeb6e641a33dae4961196235bdb965b21b", b"{}"),
    ("model.safetensors", "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03", b"hello\n"),
];

#[test]
fn what_python_fetched_is_found_and_not_fetched_again() {
    let place = Place::new();
    let files: Vec<(&str, &[u8])> = PYTHON_FILES.iter().map(|(name, _, bytes)| (*name, *bytes)).collect();
    let commit = place.server.put("ada/tiny", &files);
    put_by_python(&place, &commit, &PYTHON_FILES);
    let snapshot = place.cache().join("models--ada--tiny/snapshots").join(&commit);
    assert_eq!(place.offline().cached(&address("ada/tiny")), Some(snapshot.clone()));
    assert_eq!(download(&place.hub(), "ada/tiny").unwrap(), (snapshot, commit));
    assert!(place.server.seen().iter().all(|seen| !seen.path.contains("/resolve/")));
}

#[test]
fn half_of_a_model_is_not_taken_for_a_whole() {
    let place = Place::new();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let index: &[u8] = br#"{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}"#;
    let half =
        [PYTHON_FILES[0], PYTHON_FILES[1], ("model.safetensors.index.json", "1", index), ("a.safetensors", "2", b"a")];
    put_by_python(&place, commit, &half);
    assert_eq!(place.hub().cached(&address("ada/tiny")), None);

    put_by_python(&place, commit, &[("b.safetensors", "3", b"b")]);
    assert!(place.hub().cached(&address("ada/tiny")).is_some());
    // A link to a blob that has gone is no file.
    fs::remove_file(place.blob("2")).unwrap();
    assert_eq!(place.hub().cached(&address("ada/tiny")), None);
}

#[test]
fn a_note_that_leads_elsewhere_is_not_followed() {
    let place = Place::new();
    put_by_python(&place, "0123456789abcdef0123456789abcdef01234567", &PYTHON_FILES);
    let note = place.cache().join("models--ada--tiny/refs/main");
    for hostile in ["../../..", "", "0123", &"0123456789abcdef0123456789abcdef01234567".repeat(1000)] {
        fs::write(&note, hostile).unwrap();
        assert_eq!(place.hub().cached(&address("ada/tiny")), None, "{hostile}");
    }
}

#[test]
fn the_cache_is_listed_and_made_smaller() {
    let place = Place::new();
    assert_eq!(place.hub().list_cached().unwrap(), []);
    assert_eq!(place.hub().remove_cached("ada/tiny").unwrap(), 0);

    let first = place.put_model(&noise(5000, 1));
    download(&place.hub(), &format!("ada/tiny@{first}")).unwrap();
    place.put_model(&noise(5000, 2));
    download(&place.hub(), "ada/tiny").unwrap();
    place.server.put("eve/q", &[("m.gguf", &noise(100, 3))]);
    download(&place.hub(), "eve/q/m.gguf").unwrap();

    let listed = place.hub().list_cached().unwrap();
    let [tiny, other] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((tiny.repo.as_str(), other.repo.as_str()), ("ada/tiny", "eve/q"));
    assert_eq!(tiny.revisions, ["main".to_owned(), first]);
    assert!((10_000..11_000).contains(&tiny.bytes), "{tiny:?}");
    assert_eq!(Path::new(&tiny.path), place.cache().join("models--ada--tiny"));

    assert_eq!(place.hub().remove_cached("ada/tiny").unwrap(), tiny.bytes);
    assert_eq!(place.hub().cached(&address("ada/tiny")), None);
    assert_eq!(place.hub().list_cached().unwrap(), std::slice::from_ref(other));
    for hostile in ["..", "../..", "ada", "/etc/x", "ada/../eve"] {
        assert!(matches!(place.hub().remove_cached(hostile), Err(HubError::Invalid(_))), "{hostile}");
    }
}

#[test]
fn what_is_being_fetched_is_not_removed() {
    let place = Place::new();
    place.put_model(&noise(100, 1));
    download(&place.hub(), "ada/tiny").unwrap();
    let locks = place.cache().join(".locks/models--ada--tiny");
    let lock = File::open(fs::read_dir(locks).unwrap().next().unwrap().unwrap().path()).unwrap();
    lock.lock().unwrap();
    assert!(matches!(place.hub().remove_cached("ada/tiny"), Err(HubError::InUse { .. })));
    assert!(place.hub().cached(&address("ada/tiny")).is_some());
    drop(lock);
    place.hub().remove_cached("ada/tiny").unwrap();
}
