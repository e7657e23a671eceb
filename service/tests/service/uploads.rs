//! Files on their way in: in one go or in several, read again as a person wishes.

use crate::support::{Place, request, told, upload};
use domain::dataset::MAX_UPLOAD_BYTES;
use domain::error::ErrorKind;
use domain::reading::{Compression, ReadWish};
use std::io::Write;

const TABLE: &[u8] = b"text,label\nwarm sun,a\ncold rain,b\nmore sun,a\nmore rain,b\n";

#[tokio::test(flavor = "multi_thread")]
async fn another_delimiter_or_encoding_can_be_tried() {
    let place = Place::new();
    let service = place.open().await;
    let preview =
        upload(&service, "a.tsv", b"headline\tkind\ncaf\xe9, ouvert\tx\nferm\xe9\tx\nb\tz\nc\tz\n").await.unwrap();
    assert_eq!((preview.options.encoding.as_str(), preview.options.delimiter), ("windows-1252", '\t'));
    assert_eq!(preview.rows[0], ["café, ouvert", "x"]);
    let again = |wish: ReadWish| {
        let (service, upload) = (service.clone(), preview.upload.clone());
        async move { service.datasets.preview(&upload, &wish).await }
    };
    let forced = again(ReadWish { delimiter: Some(','), ..ReadWish::default() }).await.unwrap();
    assert_eq!(forced.columns, ["headline kind"]);
    let cyrillic = again(ReadWish { encoding: Some("windows-1251".into()), ..ReadWish::default() }).await.unwrap();
    assert_eq!(cyrillic.rows[0], ["cafй, ouvert", "x"]);
    assert_eq!(again(ReadWish::default()).await.unwrap(), preview);
    for wish in [
        ReadWish { delimiter: Some('x'), ..ReadWish::default() },
        ReadWish { encoding: Some("klingon".into()), ..ReadWish::default() },
        ReadWish { label_column: Some(9), ..ReadWish::default() },
    ] {
        assert_eq!(told(again(wish).await.unwrap_err()).kind, ErrorKind::Invalid);
    }
    let dataset = service.datasets.import(&preview.upload, request("", preview.options)).await.unwrap();
    assert_eq!((dataset.name.as_str(), dataset.rows), ("a", 4));
    assert_eq!(service.datasets.load(dataset.id, None).await.unwrap()[0].text, "café, ouvert");
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_drops_at_four_fifths_loses_nothing() {
    let place = Place::new();
    let service = place.open().await;
    let reserved = service.datasets.reserve_upload("../table.csv", TABLE.len() as u64).await.unwrap();
    assert_eq!((reserved.file_name.as_str(), reserved.received), ("table.csv", 0));
    let id = reserved.upload;
    let most = TABLE.len() * 4 / 5;
    let mut first = service.datasets.append_upload(&id, 0).await.unwrap();
    first.write(&TABLE[..10]).await.unwrap();
    first.write(&TABLE[10..most]).await.unwrap();
    // The connection drops here, and the request with it.
    drop(first);
    let status = service.datasets.upload_status(&id).await.unwrap();
    assert_eq!(status.received, most as u64);
    let early = told(service.datasets.preview(&id, &ReadWish::default()).await.unwrap_err());
    assert_eq!(early.kind, ErrorKind::Conflict);
    // Whoever thinks that more or less has come is told.
    for offset in [0, most as u64 - 1, most as u64 + 1, u64::MAX] {
        let refused = told(service.datasets.append_upload(&id, offset).await.err().unwrap());
        assert!(refused.kind == ErrorKind::Conflict && refused.message.contains(&most.to_string()), "{refused}");
    }
    // The server restarts before the sender comes back.
    service.shutdown().await;
    drop(service);
    let service = place.open().await;
    let mut second = service.datasets.append_upload(&id, most as u64).await.unwrap();
    second.write(&TABLE[most..]).await.unwrap();
    assert_eq!(second.finish().await.unwrap().received, TABLE.len() as u64);
    let preview = service.datasets.preview(&id, &ReadWish::default()).await.unwrap();
    let dataset = service.datasets.import(&id, request("", preview.options)).await.unwrap();
    assert_eq!((dataset.rows, dataset.name.as_str()), (4, "table"));
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_send_one_file_one_is_refused_and_two_files_of_one_name_are_two() {
    let place = Place::new();
    let service = place.open().await;
    let one = service.datasets.reserve_upload("same.csv", 10).await.unwrap();
    let other = service.datasets.reserve_upload("same.csv", 10).await.unwrap();
    assert_ne!(one.upload, other.upload);
    let mut first = service.datasets.append_upload(&one.upload, 0).await.unwrap();
    let refused = told(service.datasets.append_upload(&one.upload, 0).await.err().unwrap());
    assert_eq!(refused.kind, ErrorKind::Conflict);
    service.datasets.append_upload(&other.upload, 0).await.unwrap();
    first.write(b"12345").await.unwrap();
    first.finish().await.unwrap();
    let mut second = service.datasets.append_upload(&one.upload, 5).await.unwrap();
    let too_much = told(second.write(b"678901").await.unwrap_err());
    assert!(too_much.message.contains("10 that were announced"), "{too_much}");
    assert!(second.write(b"6").await.is_err());
    drop(second);
    assert_eq!(service.datasets.upload_status(&one.upload).await.unwrap().received, 5);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_too_large_or_given_up_leaves_nothing() {
    let place = Place::new();
    let service = place.open().await;
    let error = told(service.datasets.reserve_upload("large.csv", MAX_UPLOAD_BYTES + 1).await.unwrap_err());
    assert!(error.message.contains("8 GB"), "{error}");
    let mut upload = service.datasets.begin_upload("given_up.csv").await.unwrap();
    upload.write(&vec![b'x'; 3 << 20]).await.unwrap();
    drop(upload);
    assert_eq!(std::fs::read_dir(place.path().join("uploads")).unwrap().count(), 0);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_file_is_taken_in_as_it_is() {
    let place = Place::new();
    let service = place.open().await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(TABLE).unwrap();
    let preview = upload(&service, "table.csv.gz", &packed.finish().unwrap()).await.unwrap();
    assert_eq!(preview.compression, Some(Compression::Gzip));
    assert_eq!(preview.columns, ["text", "label"]);
    assert_eq!(service.datasets.import(&preview.upload, request("", preview.options)).await.unwrap().rows, 4);
    service.shutdown().await;
}
