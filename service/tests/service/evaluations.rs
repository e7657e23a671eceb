//! What a run's answers come to: report, rows, comparison, reasons and files, with the real engine.

use crate::support::{Place, import, small_run, told, wait_for_status, weather};
use domain::attribution::Method;
use domain::catalogue::AdapterSource;
use domain::error::ErrorKind;
use domain::metrics::calibration::at_temperature;
use domain::metrics::comparison::Flip;
use domain::metrics::report::RunReport;
use domain::prediction::Prediction;
use domain::row_query::{Outcome, RowOrder, RowQuery};
use domain::run::{NewRun, RunEvent, RunStatus};
use domain::split::Split;
use service::explanations::Question;
use service::saved_file::{ExportedFile, FileKind};
use std::collections::BTreeSet;

fn text_of(file: ExportedFile) -> String {
    String::from_utf8(file.pieces.flatten().collect()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_evaluated_compared_and_explained() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(120)).await.id;
    let split = Split::Percent { train: 40.0, validation: 20.0, test: 40.0, seed: 3 };
    let first = service.runs.start(NewRun { split: split.clone(), ..small_run(dataset, 1) }).await.unwrap();
    assert!(service.evaluations.evaluated(first).await.unwrap().is_none());
    let second = service.runs.start(NewRun { split, ..small_run(dataset, 6) }).await.unwrap();
    let other_test = Split::Percent { train: 60.0, validation: 0.0, test: 40.0, seed: 4 };
    let third = service.runs.start(NewRun { split: other_test, ..small_run(dataset, 1) }).await.unwrap();
    let events = wait_for_status(&service, first, 0, RunStatus::Finished).await;
    wait_for_status(&service, second, 0, RunStatus::Finished).await;
    wait_for_status(&service, third, 0, RunStatus::Finished).await;

    // Live: every look at the validation rows told its counts.
    let looks = events.iter().filter(|event| matches!(event.event, RunEvent::Validation(_))).count();
    let counted = events.iter().filter_map(|event| match &event.event {
        RunEvent::ValidationConfusion { confusion, .. } => Some(confusion.total()),
        _ => None,
    });
    assert_eq!(counted.collect::<Vec<_>>(), vec![24; looks]);
    assert!(looks > 0 && service.runs.picture(first).await.unwrap().validation_confusion.is_some());

    // The report is what the stored answers say, at the temperature that was fitted on the validation rows.
    let stored = service.runs.predictions(first).await.unwrap();
    let evaluated = service.evaluations.evaluated(first).await.unwrap().unwrap();
    let temperature = evaluated.temperature.unwrap();
    let truth: Vec<usize> = stored.iter().map(|row| row.truth).collect();
    let before: Vec<Prediction> = stored.iter().map(|row| row.before.clone().unwrap()).collect();
    let after: Vec<Prediction> = stored.iter().map(|row| row.after.clone().unwrap()).collect();
    let report = &evaluated.report;
    assert_eq!(*report, RunReport::of(&evaluated.labels, &truth, Some(&before), &after, Some(temperature)));
    let picture = service.runs.picture(first).await.unwrap();
    assert!((report.after.scores.accuracy - picture.after.unwrap().accuracy).abs() < 1e-12);
    assert!(
        (report.uncalibrated.as_ref().unwrap().log_loss
            - service.runs.picture(first).await.unwrap().after.unwrap().log_loss)
            .abs()
            < 1e-9
    );
    for (row, answer) in evaluated.rows.iter().zip(&after) {
        assert_eq!(row.after.as_ref().unwrap(), &at_temperature(answer, temperature));
    }
    let sheet = evaluated.answer_sheet();
    assert_eq!((sheet.truth(), sheet.predictions(1.0).len()), (truth.clone(), stored.len()));
    // Without validation rows nothing can be fitted.
    let unfitted = service.evaluations.evaluated(third).await.unwrap().unwrap();
    assert_eq!((unfitted.temperature, &unfitted.report.uncalibrated), (None, &None));

    // Rows one by one.
    let all = service.evaluations.browse(first, RowQuery::default()).await.unwrap();
    assert_eq!((all.matching, all.total, all.rows.len()), (48, 48, 25));
    let wanted =
        RowQuery { outcome: Outcome::Wrong, order: RowOrder::Confidence, descending: true, ..RowQuery::default() };
    let wrong = service.evaluations.browse(first, wanted.clone()).await.unwrap();
    let right = (report.after.scores.accuracy * 48.0).round() as u64;
    assert_eq!(wrong.matching, 48 - right);
    let confidences: Vec<f32> = wrong.rows.iter().map(|row| row.row.after.as_ref().unwrap().confidence()).collect();
    assert!(confidences.windows(2).all(|pair| pair[0] >= pair[1]));
    let behind = RowQuery { page: u64::MAX, ..RowQuery::default() };
    assert_eq!(service.evaluations.browse(first, behind).await.unwrap().query.page, 1);

    // Files.
    let csv = text_of(service.evaluations.rows_file(first, wanted, FileKind::Csv).await.unwrap());
    assert_eq!(csv.lines().count() as u64, 1 + wrong.matching);
    assert!(csv.starts_with("number,row,text,true,answer_before,"));
    let json = text_of(service.evaluations.rows_file(first, RowQuery::default(), FileKind::Json).await.unwrap());
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((rows.as_array().unwrap().len(), rows[3]["text"].as_str()), (48, Some(stored[3].text.as_str())));
    let nothing = RowQuery { words: "no such words".into(), ..RowQuery::default() };
    let empty = text_of(service.evaluations.rows_file(first, nothing, FileKind::Json).await.unwrap());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&empty).unwrap(), serde_json::json!([]));
    let scores = text_of(service.evaluations.scores_file(first, FileKind::Csv).await.unwrap());
    assert!(scores.contains(&format!("\r\nafter,accuracy,,{}", report.after.scores.accuracy)), "{scores}");
    let scores = text_of(service.evaluations.scores_file(first, FileKind::Json).await.unwrap());
    assert_eq!(serde_json::from_str::<RunReport>(&scores).unwrap(), *report);
    let confusion = text_of(service.evaluations.confusion_file(first, FileKind::Csv).await.unwrap());
    assert_eq!(confusion.lines().count(), 1 + 2 * evaluated.labels.len().pow(2));

    // Beside each other: the two on the same rows, the third on others.
    let both = service.evaluations.compare(&[first, second], Some(first)).await.unwrap();
    assert!(both.same_test_rows && both.reference == Some(first) && both.runs[0].against.is_none());
    let against = both.runs[1].against.as_ref().unwrap();
    let others = service.evaluations.evaluated(second).await.unwrap().unwrap();
    let of_second = others.report.after.scores.accuracy;
    let gained = (48.0 * (of_second - report.after.scores.accuracy)).round() as i64;
    let found = against.comparison;
    assert_eq!((found.rows, found.fixed as i64 - found.broken as i64, against.rows_apart), (48, gained, 0));
    assert_eq!(against.flips.iter().filter(|row| row.flip == Flip::Fixed).count() as u64, found.fixed);
    assert_eq!(against.confusion.total(), 48);
    assert!(!both.runs[1].curves.loss.is_empty());
    let three = service.evaluations.compare(&[third, second, first], None).await.unwrap();
    assert!(!three.same_test_rows);
    let best = three.runs.iter().map(|run| run.report.as_ref().unwrap().scores.accuracy).fold(0.0, f64::max);
    let reference = three.runs.iter().find(|run| Some(run.detail.summary.id) == three.reference).unwrap();
    assert_eq!(reference.report.as_ref().unwrap().scores.accuracy, best);
    let csv = text_of(service.evaluations.comparison_file(&[first, second], None, FileKind::Csv).await.unwrap());
    assert!(csv.contains(",accuracy,,"));
    for wrong in [vec![first], (1..10).collect()] {
        assert_eq!(told(service.evaluations.compare(&wrong, None).await.unwrap_err()).kind, ErrorKind::Invalid);
    }
    assert_eq!(told(service.evaluations.compare(&[first, 99], None).await.unwrap_err()).kind, ErrorKind::NotFound);

    // Reasons.
    let question =
        |text: &str, label, method| Question { source: AdapterSource::Run(first), text: text.into(), label, method };
    let text = "rain and cold wind all day";
    for method in Method::ALL {
        let found = match service.explanations.explain(question(text, None, method)).await {
            Ok(found) => found,
            // Gradients reach the words on the CPU alone.
            Err(error) => {
                assert!(method == Method::Gradient && crate::support::device() != engine::Device::Cpu, "{error}");
                continue;
            }
        };
        let said: String = found.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!((said.as_str(), found.words.len()), (text, 6));
        assert!(evaluated.labels.contains(&found.label));
    }
    let asked: BTreeSet<String> = ["", " \n", &"x".repeat(20_001)].map(String::from).into();
    for text in asked {
        let error = service.explanations.explain(question(&text, None, Method::Occlusion)).await.unwrap_err();
        assert_eq!(told(error).kind, ErrorKind::Invalid);
    }
    let error = service.explanations.explain(question(text, Some(7), Method::Occlusion)).await.unwrap_err();
    assert_eq!(told(error).kind, ErrorKind::Invalid);
    service.shutdown().await;
}
