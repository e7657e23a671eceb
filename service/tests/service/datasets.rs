//! From a file to a dataset that can be looked through.

use crate::support::{Place, examined, import, options, repository, request, told, upload};
use domain::dataset::LabelCount;
use domain::error::ErrorKind;
use domain::reading::ReadWish;
use domain::split::Part;
use domain::version::RowQuery;
use service::{Service, ServiceConfig};

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_row_is_listed_and_the_good_ones_are_kept() {
    let place = Place::new();
    let service = place.open().await;
    let file = b"id,headline,sentiment\n\
        1, Profit rises ,positive\n\
        2,,negative\n\
        3,Loss narrows,\n\
        4,too,many,fields\n\
        5,Two\n\
        6,\"Quoted, with a comma\n\
        and two lines\",negative\n\
        7,bro\xff\xfeken,negative\n\
        8,caf\xc3\xa9 opens,positive\n\
        9,Falls,negative\n\
        \n\
        10,\xc5\x9eirket b\xc3\xbcy\xc3\xbcyor,positive\n";
    let preview = upload(&service, "../news.csv", file).await.unwrap();
    assert_eq!(preview.file_name, "news.csv");
    assert_eq!(preview.columns, ["id", "headline", "sentiment"]);
    assert_eq!(preview.options, options(1, 2));
    assert_eq!(preview.rows.len(), 8);
    assert!(preview.rows.iter().all(|row| row.len() == 3));

    let dataset = service.datasets.import(&preview.upload, request("News", preview.options)).await.unwrap();
    let count = |label: &str, rows| LabelCount { label: label.to_string(), rows };
    assert_eq!(dataset.labels, [count("positive", 3), count("negative", 2)]);
    assert_eq!((dataset.rows, dataset.rejected), (5, 5));
    assert_eq!((dataset.text_column.as_str(), dataset.label_column.as_str()), ("headline", "sentiment"));

    let (rejected, total) = service.datasets.rejected(dataset.id, 0).await.unwrap();
    let told: Vec<(u64, &str)> = rejected.iter().map(|row| (row.line, row.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            (3, "empty text"),
            (4, "empty label"),
            (5, "expected 3 fields, found 4"),
            (6, "expected 3 fields, found 2"),
            (9, "the text holds bytes that are no text"),
        ]
    );
    assert_eq!(total, 5);

    let rows = service.datasets.load(dataset.id, None).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 7, 10, 11, 13]);
    assert_eq!(rows[0].text, "Profit rises");
    assert_eq!(rows[1].text, "Quoted, with a comma\nand two lines");
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_searched_filtered_and_paged() {
    let place = Place::new();
    let service = place.open().await;
    let text: String = (0..120).map(|i| format!("Headline {i} of THE day,{}\n", ["up", "down"][i % 2])).collect();
    let dataset = import(&service, "day.csv", &format!("text,label\n{text}")).await;

    let ask = |search: &str, label: Option<&str>, first: u64, count: u64| {
        let query = RowQuery {
            search: search.to_string(),
            label: label.map(String::from),
            first,
            count,
            ..RowQuery::default()
        };
        let service = service.clone();
        async move { service.datasets.rows(dataset.id, &query).await.unwrap() }
    };
    let all = ask("", None, 100, 50).await;
    assert_eq!((all.rows.len(), all.matching, all.first, all.version), (20, 120, 100, 1));
    assert_eq!((all.rows[0].text.as_str(), all.rows[0].id, all.rows[0].line), ("Headline 100 of THE day", 100, 102));
    let up = ask("", Some("up"), 50, 50).await;
    assert_eq!((up.rows.len(), up.matching), (10, 60));
    assert_eq!(ask(" headline 11", None, 0, 50).await.matching, 11, "both words, wherever they stand");
    assert_eq!(ask("DAY 117", None, 0, 50).await.rows[0].id, 117);
    let both = ask("the down", None, 0, 50).await;
    assert_eq!((both.rows.len(), both.matching), (50, 60));
    assert_eq!(ask("the down", None, 59, 50).await.rows[0].id, 119);
    assert_eq!(ask("", Some("sideways"), 0, 50).await.matching, 0);
    for search in ["", "nowhere", "day"] {
        assert!(ask(search, None, u64::MAX, u64::MAX).await.rows.is_empty());
    }
    assert_eq!(ask("", None, 0, u64::MAX).await.rows.len(), 120);
    let parts = "text,label,split\na,x,train\nb,x,test\nc,y,train\nd,y,test\n";
    let parts = import(&service, "parts.csv", parts).await;
    let test = RowQuery { part: Some(Part::Test), count: 10, ..RowQuery::default() };
    let test = service.datasets.rows(parts.id, &test).await.unwrap();
    assert_eq!(
        test.rows.iter().map(|row| (row.text.as_str(), row.part)).collect::<Vec<_>>(),
        [("b", Some(Part::Test)), ("d", Some(Part::Test))]
    );
    assert_eq!(told(service.datasets.get(99).await.unwrap_err()).kind, ErrorKind::NotFound);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_becomes_one_dataset_however_often_it_is_confirmed() {
    let place = Place::new();
    let service = place.open().await;
    let preview = upload(&service, "a.csv", b"text,label\na,x\nb,x\nc,y\nd,y\n").await.unwrap();
    let confirm = || {
        let (service, preview) = (service.clone(), preview.clone());
        tokio::spawn(async move { service.datasets.import(&preview.upload, request("A", preview.options)).await })
    };
    let (first, second) = (confirm(), confirm());
    let outcomes = [first.await.unwrap(), second.await.unwrap(), confirm().await.unwrap()];
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for refused in outcomes.into_iter().filter_map(Result::err) {
        let refused = told(refused);
        assert!(matches!(refused.kind, ErrorKind::Conflict | ErrorKind::NotFound), "{refused}");
    }
    assert_eq!(service.datasets.list().await.unwrap().len(), 1);

    for hostile in ["../datasets/1", "nothing", "00000000000000000000000000000000"] {
        let error = told(service.datasets.import(hostile, request("A", options(0, 1))).await.unwrap_err());
        assert_eq!(error.kind, ErrorKind::NotFound, "{hostile}");
        assert_eq!(
            told(service.datasets.preview(hostile, &ReadWish::default()).await.unwrap_err()).kind,
            ErrorKind::NotFound
        );
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_comes_once_and_everything_is_there_after_a_restart() {
    let place = Place::new();
    let config = ServiceConfig { sample: Some(repository().join("data/sample/headlines.csv")), ..place.config() };
    let service = Service::open(config.clone()).await.unwrap();
    examined(&service, 1, None).await;
    let datasets = service.datasets.list().await.unwrap();
    assert_eq!(datasets.len(), 1);
    assert_eq!(datasets[0].name, "Sample: financial headlines");
    assert!(datasets[0].rows >= 600, "{:?}", datasets[0]);
    assert_eq!(datasets[0].labels.len(), 3);
    assert_eq!(datasets[0].rejected, 0);
    let waiting = upload(&service, "a.csv", b"text,label\na,x\nb,x\nc,y\nd,y\n").await.unwrap();

    // Two processes in one folder would tear at the same runs; with PostgreSQL they know of each other.
    if place.database.url().is_none() {
        let second = told(Service::open(config.clone()).await.err().unwrap());
        assert!(second.message.contains("in use"), "{second}");
    }

    // The process ends in the middle of an import and of an upload.
    let uploads = place.path().join("uploads");
    let folder = uploads.join(&waiting.upload);
    service.shutdown().await;
    std::fs::rename(&folder, folder.with_added_extension("importing")).unwrap();
    std::fs::create_dir(uploads.join("0123456789abcdef0123456789abcdef")).unwrap();
    std::fs::create_dir(place.path().join("datasets/7.partial")).unwrap();

    let service = Service::open(config).await.unwrap();
    assert_eq!(service.datasets.list().await.unwrap(), datasets);
    service.datasets.import(&waiting.upload, request("", waiting.options)).await.unwrap();
    assert_eq!(std::fs::read_dir(uploads).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(place.path().join("datasets")).unwrap().count(), 2);
    service.shutdown().await;
}
