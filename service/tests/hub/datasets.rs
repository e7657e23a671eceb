//! Datasets of the Hub: what is listed, what is fetched, and who may.

use crate::server::{Access, READER, Trouble};
use crate::support::{Place, noise};
use domain::hub::FileState;
use domain::hub_dataset::HubDatasetAddress;
use service::hub::{DatasetFiles, Hub, HubError};
use std::ops::ControlFlow;
use std::path::PathBuf;

const REPO: &str = "datasets/ada/news";

fn address(text: &str) -> HubDatasetAddress {
    HubDatasetAddress::parse(text).unwrap()
}

fn fetch(hub: &Hub, text: &str, commit: &str, paths: &[&str]) -> Result<Vec<PathBuf>, HubError> {
    let wanted = DatasetFiles {
        address: address(text),
        commit: commit.to_owned(),
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    };
    Ok(hub.download_dataset(&wanted, &mut |_| ControlFlow::Continue(()))?.expect("nobody stopped it"))
}

#[test]
fn parquet_files_are_listed_and_fetched_once() {
    let place = Place::new();
    let (train, test) = (noise(300_000, 1), noise(20_000, 2));
    let commit = place.server.put(
        REPO,
        &[
            ("README.md", b"---\nlicense: mit\n---\n"),
            ("data/train-00000-of-00001.parquet", &train),
            ("data/test-00000-of-00001.parquet", &test),
            ("extra.csv", b"text,label\n"),
        ],
    );
    let hub = place.hub();
    let dataset = hub.dataset(&address("ada/news")).unwrap();
    assert_eq!((dataset.commit.as_str(), dataset.revision.as_str()), (commit.as_str(), "main"));
    let paths: Vec<&str> = dataset.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"]);

    let mut states = Vec::new();
    let wanted =
        DatasetFiles { address: address("ada/news"), commit: commit.clone(), paths: vec![paths[1].to_owned()] };
    let fetched = hub.download_dataset(&wanted, &mut |files| {
        states.extend(files.iter().map(|file| file.state));
        ControlFlow::Continue(())
    });
    let fetched = fetched.unwrap().unwrap();
    assert_eq!(std::fs::read(&fetched[0]).unwrap(), train);
    assert_eq!(states.last(), Some(&FileState::Done));
    assert!(fetched[0].starts_with(place.cache().join("datasets--ada--news/snapshots")), "{fetched:?}");

    // The second time nothing is asked of the network, nor offline.
    place.server.seen();
    for hub in [place.hub(), place.offline()] {
        assert_eq!(fetch(&hub, "ada/news", &commit, &[paths[1]]).unwrap(), fetched);
    }
    assert!(place.server.seen().is_empty());
    let offline = place.offline().dataset(&address("ada/news")).unwrap();
    assert_eq!(offline.files.len(), 1, "offline, what the cache has is listed");
    assert!(matches!(place.offline().dataset(&address("ada/other")), Err(HubError::Offline)));
}

#[test]
fn what_the_hub_has_converted_stands_in_for_missing_parquet() {
    let place = Place::new();
    place.server.put(REPO, &[("default/train/0000.parquet", b"PAR1")]);
    let converted =
        place.server.put(REPO, &[("default/train/0000.parquet", b"PAR1"), ("default/test/0000.parquet", b"PAR1")]);
    place.server.set_revision(REPO, "refs/convert/parquet", &converted);
    let hub = place.hub();
    // The branch `main` is looked at first.
    assert_eq!(hub.dataset(&address("ada/news")).unwrap().revision, "main");

    let plain = "datasets/ada/plain";
    let main = place.server.put(plain, &[("rows.jsonl", b"{}\n"), ("dataset_infos.json", b"{}")]);
    let dataset = hub.dataset(&address("ada/plain")).unwrap();
    assert_eq!(dataset.files.len(), 1, "without Parquet anywhere, other files: {dataset:?}");
    let converted = place.server.put(plain, &[("default/train/0000.parquet", b"PAR1")]);
    place.server.set_revision(plain, "refs/convert/parquet", &converted);
    place.server.set_revision(plain, "main", &main);
    let dataset = hub.dataset(&address("ada/plain")).unwrap();
    assert_eq!((dataset.revision.as_str(), dataset.commit.as_str()), ("refs/convert/parquet", converted.as_str()));
    let place_of = dataset.files.iter().map(|file| file.place()).collect::<Vec<_>>();
    assert_eq!(place_of, [("default", "train")]);
    assert!(fetch(&hub, "ada/plain@refs/convert/parquet", &converted, &["default/train/0000.parquet"]).is_ok());
}

#[test]
fn who_may_not_have_it_is_told() {
    let place = Place::new();
    let commit = place.server.put(REPO, &[("train.parquet", b"PAR1")]);
    place.server.set_access(REPO, Access::Private);
    assert!(matches!(
        place.hub().dataset(&address("ada/news")),
        Err(HubError::TokenMissing { .. } | HubError::NotFound(_))
    ));
    let reader = place.hub_of(Some(READER));
    assert!(reader.dataset(&address("ada/news")).is_ok());

    place.server.set_access(REPO, Access::Gated { accepted: Default::default() });
    let error = fetch(&reader, "ada/news", &commit, &["train.parquet"]).unwrap_err();
    let HubError::LicenceNotAccepted { url, .. } = &error else { panic!("{error}") };
    assert!(url.ends_with("/datasets/ada/news"), "{url}");
    place.server.set_access(REPO, Access::Gated { accepted: ["reader".to_owned()].into() });
    assert!(fetch(&reader, "ada/news", &commit, &["train.parquet"]).is_ok());
}

#[test]
fn a_connection_that_breaks_goes_on_and_nothing_leads_out_of_the_cache() {
    let place = Place::new();
    let bytes = noise(400_000, 3);
    let commit = place.server.put(REPO, &[("train.parquet", &bytes)]);
    place.server.trouble("train.parquet", Trouble::CutAfter(150_000), 2);
    let fetched = fetch(&place.hub(), "ada/news", &commit, &["train.parquet"]).unwrap();
    assert_eq!(std::fs::read(&fetched[0]).unwrap(), bytes);

    for hostile in ["../../secret.csv", "/etc/passwd.csv", "README.md", ".hidden.csv"] {
        let refused = fetch(&place.hub(), "ada/news", &commit, &[hostile]);
        assert!(matches!(refused, Err(HubError::Invalid(_))), "{hostile}");
    }
    assert!(matches!(fetch(&place.hub(), "ada/news", "main", &["train.parquet"]), Err(HubError::Invalid(_))));
    assert!(matches!(fetch(&place.hub(), "ada/news", &commit, &["gone.parquet"]), Err(HubError::NotFound(_))));
}
