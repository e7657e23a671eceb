//! Files that are no tables, and tables that no classifier can learn from.

use crate::support::{Place, import, options, request, told, upload};
use domain::error::ErrorKind;
use domain::reading::ReadWish;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_table_is_refused_in_words_and_leaves_nothing() {
    let place = Place::new();
    let service = place.open().await;
    for (name, bytes, words) in [
        ("empty.csv", &b""[..], "empty"),
        ("blank.csv", b"\n\n \n", "empty"),
        ("book.xlsx", b"PK\x03\x04\x14\0\x06\0[Content_Types].xml", "zip archive"),
        ("image.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
        ("rows.parquet", b"PAR1\x15\x04\x15", "does not end as a Parquet file"),
        ("rows.csv.gz", b"\x1f\x8b\x08\0\0", "gzip file cannot be unpacked"),
        ("zeros.csv", b"\0\0\0\0\0\0\0\0", "binary"),
        ("program.csv", b"\x7fELF\x02\x01\x01\0", "program"),
        ("one_column.csv", b"text\nfirst\nsecond\n", "one column"),
        ("header.csv", b"text,label\n", "no rows"),
        ("wide.csv", "x,".repeat(1_000_000).as_bytes(), "line 1, the row has more than 2000 fields"),
    ] {
        let error = told(upload(&service, name, bytes).await.unwrap_err());
        assert_eq!(error.kind, ErrorKind::Invalid, "{name}: {error}");
        assert!(error.message.contains(words), "{name}: {error}");
    }
    assert_eq!(std::fs::read_dir(place.path().join("uploads")).unwrap().count(), 0);
    assert!(service.datasets.list().await.unwrap().is_empty());
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_cannot_be_learnt_are_refused_and_the_upload_stays() {
    let place = Place::new();
    let service = place.open().await;
    let many: String = (0..400).map(|i| format!("some words {i},label {i},{}\n", i % 2)).collect();
    for (name, text, bad, words) in [
        ("one label", "text,label,other\na,x,p\nb,x,q\nc,x,p\nd,x,q\n".to_string(), 1, "Every row has the label \"x\""),
        ("one row", "text,label,other\na,x,p\nb,x,p\nc,y,q\nd,x,q\n".to_string(), 1, "\"y\" stands on one row only"),
        ("many labels", format!("text,label,other\n{many}"), 1, "400 different values"),
        ("all empty", "text,label,other\na,,p\nb,,p\nc,,q\nd,,q\n".to_string(), 1, "no usable rows"),
        ("same column", "text,label,other\na,x,p\nb,x,p\nc,y,q\nd,y,q\n".to_string(), 0, "both the text and the label"),
        ("no column", "text,label,other\na,x,p\nb,x,p\nc,y,q\nd,y,q\n".to_string(), 7, "has 3 columns"),
    ] {
        let preview = upload(&service, "file.csv", text.as_bytes()).await.unwrap();
        let error = told(service.datasets.import(&preview.upload, request("x", options(0, bad))).await.unwrap_err());
        assert_eq!(error.kind, ErrorKind::Invalid, "{name}: {error}");
        assert!(error.message.contains(words), "{name}: {error}");
        // Another column works, without another upload.
        service.datasets.preview(&preview.upload, &ReadWish::default()).await.unwrap();
        let dataset = service.datasets.import(&preview.upload, request("x", options(0, 2))).await.unwrap();
        assert_eq!(dataset.labels.len(), 2, "{name}");
    }
    // Nothing half done stands about.
    let folders = std::fs::read_dir(place.path().join("datasets")).unwrap();
    assert_eq!(folders.count(), service.datasets.list().await.unwrap().len());
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_that_never_closes_costs_one_row() {
    let place = Place::new();
    let service = place.open().await;
    let mut text = "text,label\n".to_string();
    for i in 0..2000 {
        text += &format!("row number {i},{}\n", ["a", "b"][i % 2]);
        if i == 10 {
            text += "\"opened and never closed,a\n";
        }
    }
    let dataset = import(&service, "quote.csv", &text).await;
    assert_eq!((dataset.rows, dataset.rejected), (2000, 1));
    let (rejected, _) = service.datasets.rejected(dataset.id, 0).await.unwrap();
    assert_eq!(rejected[0].line, 13);
    service.shutdown().await;
}
