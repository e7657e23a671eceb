//! The examination of versions, and what is done about its findings.

use crate::support::{Place, examined, import, request, told, upload};
use domain::dataset::DatasetId;
use domain::error::ErrorKind;
use domain::finding::{ExaminationState, FindingKind, Repair};
use domain::reading::ImportProgress;
use domain::version::{RowChange, RowEdit, RowQuery, VersionCause};
use service::Service;

/// 60 rows, ten of which repeat earlier ones, six texts with both labels, and one bad row.
fn defects() -> String {
    let mut text = "text,label\n".to_string();
    let label = |i: usize| ["up", "down"][i % 2];
    for i in 0..44 {
        text += &format!("The figure of month {} came to {} as told by desk {},{}\n", i * 7, i * i, i % 5, label(i));
    }
    for i in 0..10 {
        text += &format!("The figure of month {} came to {} as told by desk {},{}\n", i * 7, i * i, i % 5, label(i));
    }
    for i in 20..26 {
        text +=
            &format!("The figure of month {} came to {} as told by desk {},{}\n", i * 7, i * i, i % 5, label(i + 1));
    }
    text + ",up\n"
}

async fn matching(service: &Service, id: DatasetId, finding: FindingKind) -> Vec<u32> {
    let query = RowQuery { finding: Some(finding), count: 500, ..RowQuery::default() };
    let slice = service.datasets.rows(id, &query).await.unwrap();
    assert_eq!(slice.matching, slice.rows.len() as u64);
    assert!(slice.rows.iter().all(|row| row.findings.contains(&finding)));
    slice.rows.into_iter().map(|row| row.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_found_shown_repaired_and_taken_back() {
    let place = Place::new();
    let service = place.open().await;
    let datasets = &service.datasets;
    let id = import(&service, "defects.csv", &defects()).await.id;
    let report = examined(&service, id, None).await;
    assert_eq!((report.version, report.rows, report.rejected), (1, 60, 1));
    let finding = |kind| report.findings.iter().find(|finding| finding.kind == kind).unwrap();
    assert_eq!(finding(FindingKind::Contradictions).groups, 6);
    assert_eq!(datasets.get(id).await.unwrap().verdict, Some(report.health.verdict));
    // Six of the sixty rows have their text's rarer label.
    assert!((report.ceiling - 54.0 / 60.0).abs() < 1e-9, "{}", report.ceiling);

    // The rows themselves are marked, and can be chosen by what is wrong with them.
    let contradicted = matching(&service, id, FindingKind::Contradictions).await;
    assert_eq!(contradicted, (20..26).chain(54..60).collect::<Vec<u32>>());
    let page = datasets.finding(id, None, FindingKind::Contradictions, 4, 10).await.unwrap();
    assert_eq!((page.first, page.total, page.groups.len()), (4, 6, 2));
    assert_eq!(page.groups[0].rows.iter().map(|row| row.id).collect::<Vec<_>>(), [24, 58]);
    let rejected = datasets.finding(id, None, FindingKind::Rejected, 0, 10).await.unwrap();
    assert_eq!((rejected.total, rejected.groups[0].note.as_str()), (1, "empty text"));
    assert_eq!(datasets.finding(id, None, FindingKind::Contradictions, 99, 10).await.unwrap().groups, []);

    let repair = Repair::DropRows;
    assert!(finding(FindingKind::Contradictions).repairs.iter().any(|offer| offer.repair == repair));
    let preview = datasets.preview_repair(id, FindingKind::Contradictions, &repair).await.unwrap();
    assert_eq!((preview.version, preview.removed, preview.relabelled, preview.rewritten), (1, 12, 0, 0));
    assert!(preview.rows.iter().all(|row| row.after.is_none()));
    assert_eq!(preview.labels.iter().map(|count| count.rows).sum::<u64>(), 48);
    assert_eq!(datasets.get(id).await.unwrap().version, 1, "a preview changes nothing");

    let kind = FindingKind::Contradictions;
    let second = datasets.apply_repair(id, preview.version, kind, &repair, "Ada").await.unwrap();
    assert_eq!((second.rows, second.removed, second.by.as_str()), (48, 12, "Ada"));
    assert_eq!(second.cause, VersionCause::Repaired { finding: kind, repair: repair.clone() });
    let stale = told(datasets.apply_repair(id, 1, kind, &repair, "Bob").await.unwrap_err());
    assert!(stale.kind == ErrorKind::Conflict && stale.message.contains("version 2 was made by Ada"), "{stale}");

    // The repaired version is examined by itself, and finds that no more.
    let report = examined(&service, id, None).await;
    assert_eq!((report.version, report.ceiling), (2, 1.0));
    assert!(!report.findings.iter().any(|finding| finding.kind == kind));
    assert!(matching(&service, id, kind).await.is_empty());
    let nothing = told(datasets.apply_repair(id, 2, kind, &repair, "Ada").await.unwrap_err());
    assert!(nothing.message.contains("nothing to repair"), "{nothing}");
    let foreign = datasets.preview_repair(id, FindingKind::ExactDuplicates, &Repair::StripHtml).await.unwrap_err();
    assert_eq!(told(foreign).kind, ErrorKind::Invalid);

    let third = datasets.undo(id, 2, "Ada").await.unwrap();
    assert_eq!(third.hash, datasets.version(id, 1).await.unwrap().hash);
    let again = examined(&service, id, None).await;
    assert_eq!((again.version, again.findings), (3, examined(&service, id, Some(1)).await.findings));
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_is_there_after_a_restart_and_found_out_again_where_it_is_broken() {
    let place = Place::new();
    let service = place.open().await;
    let id = import(&service, "defects.csv", &defects()).await.id;
    let report = examined(&service, id, None).await;
    let marked = matching(&service, id, FindingKind::Contradictions).await;
    service.shutdown().await;

    let service = place.open().await;
    let ExaminationState::Done { examination } = service.datasets.examination(id, None).await.unwrap() else {
        panic!("it was stored")
    };
    assert_eq!(*examination, report);
    assert_eq!(matching(&service, id, FindingKind::Contradictions).await, marked);
    service.shutdown().await;

    let folder = place.path().join(format!("datasets/{id}/examinations/1"));
    for entry in std::fs::read_dir(&folder).unwrap() {
        std::fs::write(entry.unwrap().path(), "{\"half").unwrap();
    }
    let service = place.open().await;
    let query = RowQuery { finding: Some(FindingKind::Contradictions), count: 10, ..RowQuery::default() };
    let early = told(service.datasets.rows(id, &query).await.unwrap_err());
    assert!(early.message.contains("not been examined yet"), "{early}");
    assert_eq!(examined(&service, id, None).await.findings, report.findings);
    assert_eq!(matching(&service, id, FindingKind::Contradictions).await, marked);

    service.datasets.examine_again(id, None).await.unwrap();
    assert_eq!(examined(&service, id, None).await.findings, report.findings);
    for state in [service.datasets.examination(77, None).await, service.datasets.examination(id, Some(2)).await] {
        assert_eq!(told(state.unwrap_err()).kind, ErrorKind::NotFound);
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_does_not_wait_for_an_examination_and_the_next_one_begins_it_anew() {
    let place = Place::new();
    let service = place.open().await;
    let rows: String = (0..200_000).map(|i| format!("entry {i} of a long list {},{}\n", i * 31 % 977, i % 2)).collect();
    let preview = upload(&service, "long.csv", format!("text,label\n{rows}").as_bytes()).await.unwrap();
    // How far the import is can be asked meanwhile.
    let (importing, wanted) = (service.clone(), request("", preview.options));
    let name = preview.upload.clone();
    let import = tokio::spawn(async move { importing.datasets.import(&name, wanted).await });
    let mut told: Vec<ImportProgress> = Vec::new();
    while !import.is_finished() {
        told.extend(service.datasets.import_progress(&preview.upload).await);
        tokio::task::yield_now().await;
    }
    let id = import.await.unwrap().unwrap().id;
    assert!(told.windows(2).all(|pair| pair[0].rows <= pair[1].rows));
    assert!(told.iter().any(|progress| progress.rows > 0 && progress.share > 0.0 && progress.share <= 1.0), "{told:?}");
    assert_eq!(service.datasets.import_progress(&preview.upload).await, None);

    // Rows can be looked at and changed meanwhile, too.
    let row = service.datasets.rows(id, &RowQuery { count: 1, ..RowQuery::default() }).await.unwrap().rows.remove(0);
    let change = RowChange::Edited { text: Some("another text".to_string()), label: None };
    let edit = RowEdit { row: row.id, seen_text: row.text, seen_label: row.label, change, by: "Ada".to_string() };
    service.datasets.edit(id, edit).await.unwrap();
    service.shutdown().await;

    let service = place.open().await;
    let report = examined(&service, id, Some(2)).await;
    assert_eq!((report.version, report.rows), (2, 200_000));
    assert!(service.datasets.get(id).await.unwrap().verdict.is_some());
    service.shutdown().await;
}
