//! Versions of a dataset: edits, ways back, further files, and people who do it at once.

use crate::support::{Place, examined, import, request, told, upload};
use domain::dataset::DatasetId;
use domain::error::ErrorKind;
use domain::reading::{ImportInto, ImportRequest};
use domain::version::{DatasetVersion, NumberedRow, RowChange, RowEdit, RowId, RowQuery, VersionCause, VersionNumber};
use service::{Service, ServiceError};

/// A file with those rows.
fn file(rows: impl Iterator<Item = usize>) -> String {
    let line = |i: usize| format!("text number {i},{}\n", ["up", "down", "flat"][i % 3]);
    std::iter::once("text,label\n".to_string()).chain(rows.map(line)).collect()
}

/// Without findings, which come when the examination is done.
async fn rows(service: &Service, id: DatasetId, version: Option<VersionNumber>) -> Vec<NumberedRow> {
    let query = RowQuery { version, count: 500, ..RowQuery::default() };
    let rows = service.datasets.rows(id, &query).await.unwrap().rows;
    rows.into_iter().map(|row| NumberedRow { findings: Vec::new(), ..row }).collect()
}

async fn texts(service: &Service, id: DatasetId, version: Option<VersionNumber>) -> Vec<(RowId, String, String)> {
    rows(service, id, version).await.into_iter().map(|row| (row.id, row.text, row.label)).collect()
}

fn rewrite(row: &NumberedRow, text: &str, by: &str) -> RowEdit {
    change(row, RowChange::Edited { text: Some(text.to_string()), label: None }, by)
}

fn relabel(row: &NumberedRow, label: &str, by: &str) -> RowEdit {
    change(row, RowChange::Edited { text: None, label: Some(label.to_string()) }, by)
}

fn change(row: &NumberedRow, change: RowChange, by: &str) -> RowEdit {
    RowEdit { row: row.id, seen_text: row.text.clone(), seen_label: row.label.clone(), change, by: by.to_string() }
}

async fn add(
    service: &Service,
    dataset: DatasetId,
    text: &str,
    replace: bool,
) -> Result<domain::dataset::DatasetSummary, ServiceError> {
    let preview = upload(service, "more.csv", text.as_bytes()).await.unwrap();
    let into = Some(ImportInto { dataset, replace });
    service.datasets.import(&preview.upload, ImportRequest { into, ..request("", preview.options) }).await
}

fn counts(version: &DatasetVersion) -> [u64; 4] {
    [version.added, version.removed, version.relabelled, version.rewritten]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edit_is_a_version_that_says_what_it_did() {
    let place = Place::new();
    let service = place.open().await;
    let datasets = &service.datasets;
    let id = import(&service, "a.csv", &file(0..12)).await.id;
    let first = rows(&service, id, None).await;
    assert_eq!((first.len(), first[4].id, first[4].line), (12, 4, 6));

    let second = datasets.edit(id, rewrite(&first[0], "another text", " Ada ")).await.unwrap();
    assert_eq!((second.number, second.by.as_str(), counts(&second)), (2, "Ada", [0, 0, 0, 1]));
    assert_eq!(second.cause, VersionCause::Edited);
    let third = datasets.edit(id, relabel(&first[1], " up ", "")).await.unwrap();
    assert_eq!((third.by.as_str(), counts(&third)), ("someone", [0, 0, 1, 0]));
    assert_eq!(third.labels.iter().map(|count| count.rows).collect::<Vec<_>>(), [5, 4, 3]);
    let fourth = datasets.edit(id, change(&first[2], RowChange::Dropped, "Ada")).await.unwrap();
    assert_eq!((fourth.rows, counts(&fourth)), (11, [0, 1, 0, 0]));

    let now = rows(&service, id, None).await;
    assert_eq!(
        (now[0].text.as_str(), now[0].is_changed, now[1].label.as_str(), now[2].id),
        ("another text", true, "up", 3)
    );
    // Earlier versions are what they were.
    assert_eq!(rows(&service, id, Some(1)).await, first);
    assert_eq!(rows(&service, id, Some(3)).await.len(), 12);
    let summary = datasets.get(id).await.unwrap();
    assert_eq!((summary.version, summary.rows, &summary.labels), (4, 11, &fourth.labels));
    let versions = datasets.versions(id).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.number).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!(versions[0], fourth);

    // A dropped row comes back, and an edited one is again what its file had.
    let fifth = datasets.edit(id, change(&first[2], RowChange::Restored, "Ada")).await.unwrap();
    assert_eq!((fifth.rows, counts(&fifth)), (12, [1, 0, 0, 0]));
    datasets.edit(id, change(&now[0], RowChange::Restored, "Ada")).await.unwrap();
    let last = datasets.edit(id, relabel(&rows(&service, id, None).await[1], "down", "Ada")).await.unwrap();
    assert_eq!(last.hash, versions[3].hash, "the same rows have the same hash");
    assert_eq!(rows(&service, id, None).await, first);

    for (edit, words) in [
        (relabel(&first[1], "down", "Ada"), "Nothing would change"),
        (relabel(&first[1], "  ", "Ada"), "label cannot be empty"),
        (relabel(&first[1], &"x".repeat(101), "Ada"), "100 characters"),
        (rewrite(&first[1], "\n", "Ada"), "text cannot be empty"),
        (rewrite(&first[1], "a\0b", "Ada"), "NUL"),
        (rewrite(&first[1], &"x".repeat((1 << 20) + 1), "Ada"), "1 MB"),
        (relabel(&first[1], "only one", "Ada"), "stands on one row only"),
        (rewrite(&NumberedRow { id: 12, ..first[1].clone() }, "x", "Ada"), "no row 12"),
        (rewrite(&NumberedRow { id: u32::MAX, ..first[1].clone() }, "x", "Ada"), "no row"),
    ] {
        let error = told(datasets.edit(id, edit).await.unwrap_err());
        assert!(error.message.contains(words), "{error}");
    }
    assert_eq!(datasets.get(id).await.unwrap().version, last.number);
    assert_eq!(told(datasets.version(id, 99).await.unwrap_err()).kind, ErrorKind::NotFound);
    assert_eq!(told(datasets.version(id, 0).await.unwrap_err()).kind, ErrorKind::NotFound);
    assert_eq!(told(datasets.versions(77).await.unwrap_err()).kind, ErrorKind::NotFound);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_edit_one_row_the_second_is_told_and_of_many_none_is_lost() {
    let place = Place::new();
    let service = place.open().await;
    let id = import(&service, "a.csv", &file(0..60)).await.id;
    let first = rows(&service, id, None).await;

    let both = ["Ada", "Bob"].map(|by| {
        let (service, edit) = (service.clone(), rewrite(&first[7], &format!("as {by} wants it"), by));
        tokio::spawn(async move { service.datasets.edit(id, edit).await })
    });
    let mut refused = Vec::new();
    for edit in both {
        refused.extend(edit.await.unwrap().err().map(told));
    }
    assert_eq!(refused.len(), 1);
    let winner = rows(&service, id, None).await[7].text.clone();
    assert_eq!(refused[0].kind, ErrorKind::Conflict);
    let by = if winner.contains("Ada") {
        "Ada has changed this row in version 2"
    } else {
        "Bob has changed this row in version 2"
    };
    assert!(refused[0].message.contains(by) && refused[0].message.contains(&winner), "{}", refused[0]);

    let edits: Vec<_> = (10..50)
        .map(|row| {
            let (service, edit) = (service.clone(), rewrite(&first[row], &format!("new {row}"), "Ada"));
            tokio::spawn(async move { service.datasets.edit(id, edit).await.unwrap().number })
        })
        .collect();
    let mut numbers = Vec::new();
    for edit in edits {
        numbers.push(edit.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (3..43).collect::<Vec<_>>());
    let now = rows(&service, id, None).await;
    assert!((10..50).all(|row| now[row].text == format!("new {row}")));
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_taken_back_and_an_earlier_one_restored() {
    let place = Place::new();
    let service = place.open().await;
    let datasets = &service.datasets;
    let id = import(&service, "a.csv", &file(0..12)).await.id;
    let first = rows(&service, id, None).await;
    let hash = datasets.version(id, 1).await.unwrap().hash;

    datasets.edit(id, rewrite(&first[0], "two", "Ada")).await.unwrap();
    let third = datasets.edit(id, change(&first[3], RowChange::Dropped, "Bob")).await.unwrap();
    let fourth = datasets.undo(id, 2, "Cem").await.unwrap();
    assert_eq!((fourth.cause.clone(), fourth.by.as_str()), (VersionCause::Undone { version: 2 }, "Cem"));
    assert_eq!(counts(&fourth), [0, 0, 0, 1]);
    assert_eq!(rows(&service, id, None).await[0], first[0]);
    assert!(told(datasets.undo(id, 2, "Cem").await.unwrap_err()).message.contains("Nothing would change"));

    // Undoing can be undone.
    let fifth = datasets.undo(id, 4, "Cem").await.unwrap();
    assert_eq!(fifth.hash, third.hash);
    datasets.undo(id, 5, "Cem").await.unwrap();
    assert_eq!(datasets.undo(id, 3, "Cem").await.unwrap().hash, hash);
    assert!(told(datasets.undo(id, 1, "Cem").await.unwrap_err()).message.contains("nothing before it"));

    // What somebody has changed since is not thrown away.
    let eighth = datasets.edit(id, relabel(&first[0], "down", "Ada")).await.unwrap();
    datasets.edit(id, rewrite(&NumberedRow { label: "down".into(), ..first[0].clone() }, "nine", "Bob")).await.unwrap();
    let refused = told(datasets.undo(id, eighth.number, "Cem").await.unwrap_err());
    assert!(refused.message.contains("Bob in version 9") && refused.kind == ErrorKind::Conflict, "{refused}");

    let restored = datasets.restore(id, 3, "Cem").await.unwrap();
    assert_eq!((restored.hash, restored.cause), (third.hash, VersionCause::WentBack { version: 3 }));
    assert!(told(datasets.restore(id, 3, "Cem").await.unwrap_err()).message.contains("Nothing would change"));
    assert_eq!(datasets.restore(id, 1, "Cem").await.unwrap().hash, hash);
    assert_eq!(told(datasets.restore(id, 40, "Cem").await.unwrap_err()).kind, ErrorKind::NotFound);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rows_have_the_same_hash_however_they_came_to_be() {
    let place = Place::new();
    let service = place.open().await;
    let one = import(&service, "a.csv", &file(0..12)).await.id;
    let other = import(&service, "other name.csv", &file(0..12)).await.id;
    let grown = import(&service, "b.csv", &file(0..6)).await.id;
    add(&service, grown, &file(0..12), false).await.unwrap();
    let larger = import(&service, "c.csv", &file(0..15)).await.id;
    for row in &rows(&service, larger, None).await[12..] {
        service.datasets.edit(larger, change(row, RowChange::Dropped, "Ada")).await.unwrap();
    }
    let mut hashes = Vec::new();
    for id in [one, other, grown, larger] {
        hashes.push(service.datasets.versions(id).await.unwrap()[0].hash.clone());
    }
    assert_eq!(hashes[0].len(), 64);
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    assert_ne!(service.datasets.version(larger, 1).await.unwrap().hash, hashes[0]);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_file_adds_what_is_new_or_takes_the_place_of_what_was() {
    let place = Place::new();
    let service = place.open().await;
    let datasets = &service.datasets;
    let id = import(&service, "a.csv", &file(0..12)).await.id;
    let first = rows(&service, id, None).await;
    datasets.edit(id, rewrite(&first[2], "repaired", "Ada")).await.unwrap();

    // Rows 2 to 11 are there, the repaired one among them; one row of the file is bad.
    let summary = add(&service, id, &format!("{},nothing\n", file(2..16)), false).await.unwrap();
    assert_eq!((summary.rows, summary.rejected, summary.version), (16, 1, 3));
    let third = datasets.version(id, 3).await.unwrap();
    assert_eq!(counts(&third), [4, 0, 0, 0]);
    assert_eq!(third.cause, VersionCause::FileAdded { file_name: "more.csv".to_string(), replace: false });
    let now = rows(&service, id, None).await;
    assert_eq!((now[2].text.as_str(), now[12].id, now[12].line), ("repaired", 12, 12));
    assert_eq!(datasets.rejected(id, 0).await.unwrap().0[0].reason, "empty text");

    for replace in [false, true] {
        let again = told(add(&service, id, &file(0..16), replace).await.unwrap_err());
        assert!(again.message.contains("All 16 rows"), "{again}");
    }
    let replaced = add(&service, id, &file(6..18), true).await.unwrap();
    assert_eq!((replaced.rows, replaced.version), (12, 4));
    assert_eq!(counts(&datasets.version(id, 4).await.unwrap()), [2, 6, 0, 0]);
    // Rows that a person has dropped come back with a file that has them, as they were.
    add(&service, id, &file(0..3), false).await.unwrap();
    assert_eq!(rows(&service, id, None).await[..2], first[..2]);

    // Taking a file back takes its rows.
    let undone = datasets.undo(id, 4, "Ada").await;
    let refused = told(undone.unwrap_err());
    assert!(refused.message.contains("one of its rows") && refused.message.contains("version 5"), "{refused}");
    datasets.undo(id, 5, "Ada").await.unwrap();
    datasets.undo(id, 4, "Ada").await.unwrap();
    assert_eq!(datasets.undo(id, 3, "Ada").await.unwrap().hash, datasets.version(id, 2).await.unwrap().hash);

    // A file whose labels could not be learnt with the others leaves nothing, and can be tried otherwise.
    examined(&service, id, None).await;
    let before = datasets.get(id).await.unwrap();
    let preview = upload(&service, "odd.csv", b"text,label\nodd,strange\nodder,down\n").await.unwrap();
    let into = Some(ImportInto { dataset: id, replace: false });
    let odd = ImportRequest { into, ..request("", preview.options.clone()) };
    let error = told(datasets.import(&preview.upload, odd).await.unwrap_err());
    assert!(error.message.contains("\"strange\" stands on one row only"), "{error}");
    assert_eq!(datasets.get(id).await.unwrap(), before);
    assert!(!place.path().join(format!("datasets/{id}/segments/4")).exists());
    let into = Some(ImportInto { dataset: 99, replace: false });
    let nowhere = ImportRequest { into, ..request("", preview.options) };
    assert_eq!(told(datasets.import(&preview.upload, nowhere).await.unwrap_err()).kind, ErrorKind::NotFound);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_edits_that_come_at_once_all_count() {
    let place = Place::new();
    let service = place.open().await;
    let id = import(&service, "a.csv", &file(0..30)).await.id;
    let first = rows(&service, id, None).await;
    let files: Vec<_> = [30..50, 50..70, 70..90]
        .into_iter()
        .map(|range| {
            let service = service.clone();
            tokio::spawn(async move { add(&service, id, &file(range), false).await.unwrap() })
        })
        .collect();
    for row in &first[..10] {
        service.datasets.edit(id, rewrite(row, &format!("edited {}", row.id), "Ada")).await.unwrap();
    }
    for file in files {
        file.await.unwrap();
    }
    let now = rows(&service, id, None).await;
    assert_eq!(now.len(), 90);
    assert!((0..10).all(|row| now[row].text == format!("edited {row}")));
    let mut added: Vec<String> = now[30..].iter().map(|row| row.text.clone()).collect();
    added.sort_by_key(|text| text.rsplit(' ').next().unwrap().parse::<usize>().unwrap());
    assert_eq!(added, (30..90).map(|i| format!("text number {i}")).collect::<Vec<_>>());
    assert_eq!(service.datasets.get(id).await.unwrap().version, 14);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart_and_leftovers_are_in_nobodys_way() {
    let place = Place::new();
    let service = place.open().await;
    let id = import(&service, "a.csv", &file(0..12)).await.id;
    let row = rows(&service, id, None).await[5].clone();
    service.datasets.edit(id, rewrite(&row, "five", "Ada")).await.unwrap();
    add(&service, id, &file(10..20), false).await.unwrap();
    let versions = service.datasets.versions(id).await.unwrap();
    let mut seen = Vec::new();
    for version in 1..=3 {
        seen.push(texts(&service, id, Some(version)).await);
    }
    service.shutdown().await;

    // As a process leaves them that dies between a file and the table.
    let folder = place.path().join(format!("datasets/{id}"));
    for path in ["segments/2", "upload.partial/whole", "examinations/3.partial"] {
        std::fs::create_dir_all(folder.join(path)).unwrap();
        std::fs::write(folder.join(path).join("texts"), "half of a").unwrap();
    }
    std::fs::write(folder.join("versions/4.changes"), "{\"since\":null}\n[0,\"dropped\"]\n").unwrap();
    std::fs::write(folder.join("versions/5.changes.partial"), "{\"sin").unwrap();

    let service = place.open().await;
    assert_eq!(service.datasets.versions(id).await.unwrap(), versions);
    for version in 1..=3 {
        assert_eq!(texts(&service, id, Some(version)).await, seen[version as usize - 1]);
    }
    assert!(!folder.join("upload.partial").exists() && !folder.join("examinations/3.partial").exists());
    // Without changes of its own, the fourth must not take up those that were left.
    assert_eq!(service.datasets.restore(id, 1, "Ada").await.unwrap().hash, versions[2].hash);
    service.datasets.restore(id, 3, "Ada").await.unwrap();
    assert_eq!(add(&service, id, &file(18..24), false).await.unwrap().rows, 24);
    service.shutdown().await;
    let service = place.open().await;
    assert_eq!(texts(&service, id, Some(5)).await, seen[2]);
    assert_eq!(texts(&service, id, None).await.len(), 24);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_changes_nothing_and_is_told() {
    let place = Place::new();
    let service = place.open().await;
    let full = |path: &str| {
        let path = place.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/dev/full", path).unwrap();
    };
    // A device that takes no byte stands where the first dataset's texts are to be written.
    full("datasets/1.partial/segments/0/texts");
    let preview = upload(&service, "a.csv", file(0..12).as_bytes()).await.unwrap();
    let import = || service.datasets.import(&preview.upload, request("A", preview.options.clone()));
    let error = told(import().await.unwrap_err());
    assert!(error.message.contains("disk is full"), "{error}");
    assert!(service.datasets.list().await.unwrap().is_empty());
    assert_eq!(std::fs::read_dir(place.path().join("datasets")).unwrap().count(), 0);
    let id = import().await.unwrap().id;

    let before = rows(&service, id, None).await;
    full(&format!("datasets/{id}/versions/2.changes.partial"));
    let error = told(service.datasets.edit(id, rewrite(&before[0], "new", "Ada")).await.unwrap_err());
    assert!(error.message.contains("disk is full"), "{error}");
    assert_eq!(rows(&service, id, None).await, before);
    assert_eq!(service.datasets.edit(id, rewrite(&before[0], "new", "Ada")).await.unwrap().number, 2);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_exported_with_formulas_as_texts() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "my news.csv", "text,label\n\"=1+1, really\",up\nb,up\nc,-down\nd,-down\n").await;
    let row = rows(&service, dataset.id, None).await[1].clone();
    service.datasets.edit(dataset.id, rewrite(&row, "@b", "Ada")).await.unwrap();
    let export = |version| service.datasets.export(dataset.id, version);
    let (first, newest) = (export(Some(1)).await.unwrap(), export(None).await.unwrap());
    assert_eq!((first.file_name.as_str(), newest.file_name.as_str()), ("my-news-v1.csv", "my-news-v2.csv"));
    let text = |export: service::datasets::CsvExport| String::from_utf8(export.flatten().collect()).unwrap();
    assert_eq!(text(first), "text,label,split\r\n\"'=1+1, really\",up,\r\nb,up,\r\nc,'-down,\r\nd,'-down,\r\n");
    assert!(text(newest).contains("\r\n'@b,up,\r\n"));
    service.shutdown().await;
}
