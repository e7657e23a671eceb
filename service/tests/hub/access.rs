//! What a check tells, and to whom the Hub gives what.

use crate::server::{Access, READER, STRANGER, WRITER};
use crate::support::{Place, address, download, hurry, noise};
use domain::hub::{HubAccess, HubCheck, HubFile, HubKind};
use service::hub::{Hub, HubError, HubSettings};
use std::collections::BTreeSet;

fn check(place: &Place, token: Option<&str>, text: &str) -> HubCheck {
    place.hub_of(token).check(&address(text)).unwrap()
}

#[test]
fn a_check_tells_what_a_download_would_take() {
    let place = Place::new();
    let commit = place.put_model(&noise(5000, 1));
    let told = check(&place, Some(READER), "ada/tiny");
    assert_eq!(told.kind, HubKind::Model);
    assert_eq!(told.access, HubAccess::Open);
    assert_eq!(told.commit.as_ref(), Some(&commit));
    assert_eq!(told.user.as_deref(), Some("reader"));
    assert_eq!(told.licence.as_deref(), Some("apache-2.0"));
    assert_eq!(told.architecture.as_deref(), Some("LlamaForCausalLM"));
    assert!(told.config_json.unwrap().contains("model_type"));
    let names: Vec<&str> = told.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["config.json", "tokenizer.json", "model.safetensors"]);
    assert_eq!(told.total_bytes, told.files.iter().map(|file| file.bytes).sum::<u64>());
    assert_eq!((told.missing_bytes, told.problems.as_slice()), (told.total_bytes, &[][..]));
    assert!(told.disk_free_bytes.unwrap() > 0);
    assert!(!place.cache().exists(), "a check writes nothing");

    download(&place.hub(), "ada/tiny").unwrap();
    let told = check(&place, None, "ada/tiny");
    assert!(told.files.iter().all(|file| file.cached) && told.missing_bytes == 0);
}

#[test]
fn a_gguf_file_tells_its_architecture() {
    let place = Place::new();
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend(0_u64.to_le_bytes());
    file.extend(1_u64.to_le_bytes());
    file.extend(20_u64.to_le_bytes());
    file.extend(b"general.architecture");
    file.extend(8_u32.to_le_bytes());
    file.extend(5_u64.to_le_bytes());
    file.extend(b"llama");
    file.extend(noise(100_000, 1));
    place.server.put("ada/q", &[("m.gguf", &file)]);
    let expected = HubFile { name: "m.gguf".to_owned(), bytes: file.len() as u64, cached: false };
    let told = check(&place, None, "ada/q/m.gguf");
    assert_eq!((told.kind, told.architecture.as_deref()), (HubKind::Gguf, Some("llama")));
    assert_eq!(told.files, [expected]);
    let asked = place.server.seen().into_iter().find(|seen| !seen.at_hub).unwrap();
    assert!(asked.sent_bytes() < 20_000, "{asked:?}");

    download(&place.hub(), "ada/q/m.gguf").unwrap();
    assert_eq!(check(&place, None, "ada/q/m.gguf").architecture.as_deref(), Some("llama"));
    assert_eq!(place.offline().check(&address("ada/q/m.gguf")).unwrap().architecture.as_deref(), Some("llama"));
}

#[test]
fn an_adapter_is_told_from_a_model() {
    let place = Place::new();
    let files: [(&str, &[u8]); 3] = [
        ("adapter_config.json", br#"{"peft_type": "LORA"}"#),
        ("adapter_model.safetensors", b"x"),
        ("classifier.json", b"{}"),
    ];
    place.server.put("ada/adapter", &files);
    let told = check(&place, None, "ada/adapter");
    assert_eq!((told.kind, told.files.len(), told.problems.len()), (HubKind::Adapter, 3, 0));
    assert!(told.config_json.unwrap().contains("LORA"));
}

#[test]
fn a_private_model_is_for_those_with_a_token() {
    let place = Place::new();
    place.put_model(&noise(1000, 1));
    place.server.set_access("ada/tiny", Access::Private);

    let told = check(&place, None, "ada/tiny");
    assert_eq!(told.access, HubAccess::TokenMissing { url: format!("{}/settings/tokens", place.server.endpoint()) });
    assert_eq!(told.problems.len(), 1);
    assert!(matches!(download(&place.hub(), "ada/tiny"), Err(HubError::TokenMissing { .. })));

    assert_eq!(check(&place, Some(STRANGER), "ada/tiny").access, HubAccess::NotFound);
    assert_eq!(check(&place, Some(READER), "ada/tiny").access, HubAccess::Granted);
    download(&place.hub_of(Some(READER)), "ada/tiny").unwrap();
}

#[test]
fn a_licence_has_to_be_accepted() {
    let place = Place::new();
    place.put_model(&noise(1000, 1));
    place.server.set_access("ada/tiny", Access::Gated { accepted: BTreeSet::from(["writer".to_owned()]) });

    assert!(matches!(check(&place, None, "ada/tiny").access, HubAccess::TokenMissing { .. }));
    let told = check(&place, Some(READER), "ada/tiny");
    let page = format!("{}/ada/tiny", place.server.endpoint());
    assert_eq!(told.access, HubAccess::LicenceNotAccepted { url: page.clone() });
    assert!(told.problems[0].contains(&page), "{:?}", told.problems);
    assert_eq!((told.user.as_deref(), told.licence.as_deref()), (Some("reader"), Some("apache-2.0")));
    assert_eq!(told.files.len(), 3, "what it consists of may be known");
    let error = download(&place.hub_of(Some(READER)), "ada/tiny").unwrap_err();
    assert!(matches!(&error, HubError::LicenceNotAccepted { url, .. } if *url == page), "{error}");

    assert_eq!(check(&place, Some(WRITER), "ada/tiny").access, HubAccess::Granted);
    download(&place.hub_of(Some(WRITER)), "ada/tiny").unwrap();
}

#[test]
fn a_token_that_the_hub_does_not_know_is_told_and_never_shown() {
    let place = Place::new();
    place.put_model(&noise(1000, 1));
    let hub = place.hub_of(Some("hf_0123456789"));
    let told = hub.check(&address("ada/tiny")).unwrap();
    assert_eq!(told.access, HubAccess::TokenInvalid);
    let error = hub.whoami().unwrap_err();
    assert!(matches!(error, HubError::TokenInvalid { .. }), "{error}");
    for words in [format!("{told:?}"), format!("{error:?} {error}"), format!("{hub:?}")] {
        assert!(!words.contains("0123456789"), "{words}");
    }
    assert_eq!(place.hub_of(Some(READER)).whoami().unwrap().as_deref(), Some("reader"));
    assert_eq!(place.hub().whoami().unwrap(), None);
}

#[test]
fn what_is_not_there_is_told() {
    let place = Place::new();
    place.put_model(&noise(1000, 1));
    for (text, words) in [
        ("ada/absent", "no ada/absent"),
        ("ada/tiny@absent", "no such branch"),
        ("ada/tiny/absent.gguf", "has no file absent.gguf"),
    ] {
        let told = check(&place, Some(READER), text);
        assert_eq!(told.access, HubAccess::NotFound, "{text}");
        assert!(told.problems[0].contains(words), "{:?}", told.problems);
        let error = download(&place.hub_of(Some(READER)), text).unwrap_err();
        assert!(matches!(error, HubError::NotFound(_)), "{error}");
    }
}

#[test]
fn offline_the_cache_is_all_there_is() {
    let place = Place::new();
    let commit = place.put_model(&noise(1000, 1));
    let told = place.offline().check(&address("ada/tiny")).unwrap();
    assert_eq!((told.access, told.problems.len()), (HubAccess::Offline, 1));
    assert!(matches!(download(&place.offline(), "ada/tiny"), Err(HubError::Offline)));
    assert!(place.server.seen().is_empty());

    let expected = download(&place.hub(), "ada/tiny").unwrap();
    place.server.seen();
    let told = place.offline().check(&address("ada/tiny")).unwrap();
    assert_eq!((told.access, told.commit, told.missing_bytes), (HubAccess::Offline, Some(commit), 0));
    assert_eq!((told.files.len(), told.problems.len()), (3, 0));
    assert_eq!(told.architecture.as_deref(), Some("LlamaForCausalLM"));
    assert_eq!(download(&place.offline(), "ada/tiny").unwrap(), expected);
    assert!(place.server.seen().is_empty());
}

#[test]
fn without_a_network_the_cache_answers_if_it_can() {
    let place = Place::new();
    place.put_model(&noise(1000, 1));
    download(&place.hub(), "ada/tiny").unwrap();
    // Port 9 is the discard service's, which nothing listens on.
    let settings = HubSettings { endpoint: "http://127.0.0.1:9".to_owned(), ..place.settings(None) };
    let cut_off = Hub::new(settings).with_patience(hurry());
    assert_eq!(cut_off.check(&address("ada/tiny")).unwrap().access, HubAccess::Offline);
    let error = cut_off.check(&address("ada/other")).unwrap_err();
    assert!(error.to_string().contains("http://127.0.0.1:9 could not be reached: nothing listens there"), "{error}");
}

#[test]
fn an_endpoint_that_is_no_hub_is_told() {
    let place = Place::new();
    for endpoint in ["", "hub.example", "ftp://hub.example", "http://me:secret@127.0.0.1:9"] {
        let settings = HubSettings { endpoint: endpoint.to_owned(), ..place.settings(None) };
        let error = Hub::new(settings).check(&address("ada/tiny")).unwrap_err();
        assert!(error.to_string().contains("HF_ENDPOINT is no address"), "{error}");
        assert!(!error.to_string().contains("secret"));
    }
}
