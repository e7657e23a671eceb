//! Classifiers that serve: what they say is what the run says, joined or alone, and deployments that move.

use crate::support::{Place, import, small_run, told, wait_for_status, weather};
use domain::catalogue::AdapterSource;
use domain::deployment::MoveAction;
use domain::deployment::demo::Brand;
use domain::error::ErrorKind;
use domain::metrics::calibration::at_temperature;
use domain::run::{NewRun, RunId, RunStatus, TestRow};
use engine::classify::ClassifierFile;
use engine::train::adapter_directory;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use service::{Service, ServiceConfig, ServingLimits};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

async fn finished(service: &Service, dataset: i64, new: impl Fn(i64) -> NewRun) -> RunId {
    let run = service.runs.start(new(dataset)).await.unwrap();
    wait_for_status(service, run, 0, RunStatus::Finished).await;
    run
}

fn rows_of(test: &[TestRow]) -> Vec<String> {
    test.iter().map(|row| row.text.clone()).collect()
}

/// Two runs with different prompts, and a service with them.
async fn two_runs(place: &Place, limits: ServingLimits) -> (Service, [RunId; 2], i64) {
    let service = Service::open(ServiceConfig { serving: limits, ..place.config() }).await.unwrap();
    let dataset = import(&service, "weather.csv", &weather(120)).await.id;
    let first = finished(&service, dataset, |dataset| small_run(dataset, 1)).await;
    let second = finished(&service, dataset, |dataset| {
        let mut new = small_run(dataset, 2);
        new.spec.set("prompt_template", "Weather report: {text}\nIt is:").unwrap();
        new
    })
    .await;
    (service, [first, second], dataset)
}

/// Whatever rows of the two runs are asked in whatever parts at the same time, every probability is the one that the run
/// has stored for the row, at the temperature that stands with the adapter.
#[tokio::test(flavor = "multi_thread")]
async fn the_answers_are_those_of_the_run() {
    let place = Place::new();
    let (service, runs, _) = two_runs(&place, ServingLimits::default()).await;
    let stored = [service.runs.predictions(runs[0]).await.unwrap(), service.runs.predictions(runs[1]).await.unwrap()];
    assert!(stored[0].len() > 10);
    // The first has been calibrated, the second not.
    let adapter = adapter_directory(&place.path().join(format!("runs/{}", runs[0])));
    let file = ClassifierFile { temperature: Some(1.7), ..ClassifierFile::read(&adapter).unwrap() };
    file.write(&adapter).unwrap();
    let second = ClassifierFile::read(&adapter_directory(&place.path().join(format!("runs/{}", runs[1])))).unwrap();
    let temperatures = [Some(1.7), second.temperature];

    let parts = prop::collection::vec((0..2_usize, prop::collection::vec(any::<prop::sample::Index>(), 1..9)), 1..6);
    let handle = Handle::current();
    let property = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() });
        runner.run(&parts, |parts| {
            let asked: Vec<_> = parts
                .iter()
                .map(|(which, indices)| {
                    let rows: Vec<TestRow> = indices.iter().map(|index| index.get(&stored[*which]).clone()).collect();
                    let (classifiers, texts) = (service.classifiers.clone(), rows_of(&rows));
                    let source = AdapterSource::Run(runs[*which]);
                    (*which, rows, handle.spawn(async move { classifiers.classify(source, texts).await }))
                })
                .collect();
            for (which, rows, answer) in asked {
                let answer = handle.block_on(answer).unwrap().unwrap();
                prop_assert_eq!(answer.temperature, temperatures[which]);
                prop_assert_eq!(answer.predictions.len(), rows.len());
                for (row, answer) in rows.iter().zip(&answer.predictions) {
                    let shown = at_temperature(row.after.as_ref().unwrap(), temperatures[which].unwrap_or(1.0));
                    prop_assert_eq!(answer.label, shown.label);
                    for (one, other) in answer.probabilities.iter().zip(&shown.probabilities) {
                        prop_assert!((one - other).abs() < 1e-5, "{} and {}", one, other);
                    }
                    prop_assert!((answer.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                }
            }
            Ok(())
        })
    });
    property.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_line_says_when_to_come_again_and_the_abandoned_leave_it() {
    let place = Place::new();
    // An adapter at a time, so that every turn opens one anew.
    let limits = ServingLimits { adapter_bytes: 1, waiting_requests: 3, ..ServingLimits::default() };
    let (service, runs, _) = two_runs(&place, limits).await;
    let texts = |count: usize| vec!["rain and cold wind again".to_string(); count];
    let ask = |which: usize, count| {
        let (classifiers, texts) = (service.classifiers.clone(), texts(count));
        tokio::spawn(async move { classifiers.classify(AdapterSource::Run(runs[which]), texts).await })
    };
    service.classifiers.classify(AdapterSource::Run(runs[0]), texts(3)).await.unwrap();
    let large: Vec<_> = (0..12).map(|number| ask(number % 2, 400)).collect();
    // Three of them fill the line, the others are refused.
    while large.iter().filter(|asked| asked.is_finished()).count() < large.len() - 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (settled, large): (Vec<_>, Vec<_>) = large.into_iter().partition(|asked| asked.is_finished());
    let mut refused = 0;
    for asked in settled {
        // On a machine that is busy with something else, one of them may have been answered by now.
        let Err(error) = asked.await.unwrap() else { continue };
        let error = told(error);
        assert_eq!(error.kind, ErrorKind::Busy);
        assert!(error.retry_after_s.is_some_and(|seconds| (1..=3600).contains(&seconds)), "{error:?}");
        refused += 1;
    }
    assert!(refused >= 4, "{refused}");

    // Their clients go: what they asked costs nothing more.
    large.iter().for_each(|asked| asked.abort());
    let began = Instant::now();
    let answer = loop {
        match service.classifiers.classify(AdapterSource::Run(runs[1]), texts(1)).await {
            Ok(answer) => break answer,
            Err(error) => assert_eq!(told(error).kind, ErrorKind::Busy),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(answer.predictions.len(), 1);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_text_does_not_wait_for_a_long_list() {
    let place = Place::new();
    let (service, runs, _) = two_runs(&place, ServingLimits::default()).await;
    let long = {
        let classifiers = service.classifiers.clone();
        let texts = vec!["the sun is warm and bright, and it will stay so for many more days".to_string(); 900];
        tokio::spawn(async move { classifiers.classify(AdapterSource::Run(runs[0]), texts).await })
    };
    // Once it is under way, single texts for the other adapter overtake it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..3 {
        service.classifiers.classify(AdapterSource::Run(runs[1]), vec!["rain".to_string()]).await.unwrap();
    }
    assert!(!long.is_finished());
    assert_eq!(long.await.unwrap().unwrap().predictions.len(), 900);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_moves_is_tried_out_and_goes_back() {
    let place = Place::new();
    let (service, [first, second], dataset) = two_runs(&place, ServingLimits::default()).await;
    let [first, second] = [AdapterSource::Run(first), AdapterSource::Run(second)];
    let deployments = &service.deployments;
    let kind = |error| told(error).kind;
    assert_eq!(kind(deployments.create("Weather", first, "").await.unwrap_err()), ErrorKind::Invalid);
    assert_eq!(kind(deployments.create("weather", AdapterSource::Run(77), "").await.unwrap_err()), ErrorKind::NotFound);
    deployments.create("weather", first, "Ada").await.unwrap();
    assert_eq!(kind(deployments.create("weather", first, "").await.unwrap_err()), ErrorKind::Conflict);

    // A run that is not finished answers nothing, so nothing is moved to it.
    let queued = service.runs.start(small_run(dataset, 1)).await.unwrap();
    service.runs.cancel(queued).await.unwrap();
    assert_eq!(
        kind(deployments.move_to("weather", AdapterSource::Run(queued), "").await.unwrap_err()),
        ErrorKind::Conflict
    );

    let texts: Vec<String> = rows_of(&service.runs.predictions(2).await.unwrap());
    let ask = |count: usize| deployments.classify("weather", texts[..count].to_vec());
    assert_eq!(ask(1).await.unwrap().version, first);
    assert_eq!(deployments.classify("run-2", texts[..1].to_vec()).await.unwrap().version, second);
    assert_eq!(kind(deployments.classify("nowhere", texts.clone()).await.unwrap_err()), ErrorKind::NotFound);

    // Of ten requests exactly three are the canary's, and both versions are compared on them.
    deployments.start_canary("weather", second, 30, "Ada").await.unwrap();
    let mut of_canary = 0;
    for _ in 0..10 {
        of_canary += usize::from(ask(2).await.unwrap().version == second);
    }
    assert_eq!(of_canary, 3);
    let deadline = Instant::now() + Duration::from_secs(10);
    let figures = loop {
        let figures = deployments.figures("weather").await.unwrap();
        if figures.agreement.texts == 6 || Instant::now() > deadline {
            break figures;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(figures.agreement.texts, 6);
    assert_eq!((figures.requests, figures.texts), (11, 21));
    assert_eq!(figures.texts_per_minute.len(), 60);
    assert!(figures.p50_ms <= figures.p95_ms && figures.p95_ms <= figures.p99_ms);
    assert_eq!(figures.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [first, second]);
    assert_eq!(figures.versions[1].answers.total(), 6);
    let on_test_rows = figures.versions[0].on_test_rows.as_ref().unwrap();
    assert_eq!(on_test_rows.total() as usize, service.runs.predictions(1).await.unwrap().len());

    deployments.move_to("weather", second, "Grace").await.unwrap();
    let moved = deployments.get("weather").await.unwrap();
    assert_eq!((moved.version, moved.canary.clone()), (second, None));
    assert_eq!(ask(1).await.unwrap().version, second);
    assert_eq!(deployments.roll_back("weather", None, "Grace").await.unwrap(), first);
    let back = deployments.get("weather").await.unwrap();
    let history: Vec<_> = back.moves.iter().map(|entry| (entry.number, entry.action, entry.by.as_str())).collect();
    assert_eq!(
        history,
        [
            (4, MoveAction::RolledBack, "Grace"),
            (3, MoveAction::Moved, "Grace"),
            (2, MoveAction::CanaryStarted { percent: 30 }, "Ada"),
            (1, MoveAction::Created, "Ada"),
        ]
    );
    assert_eq!(kind(deployments.roll_back("weather", Some(2), "").await.unwrap_err()), ErrorKind::Conflict);

    // It stands after the process has ended.
    service.shutdown().await;
    drop(service);
    let service = place.open().await;
    assert_eq!(service.deployments.list().await.unwrap().len(), 1);
    let answer = service.deployments.classify("weather", vec!["rain".to_string()]).await.unwrap();
    assert_eq!(answer.version, first);
    service.deployments.remove("weather").await.unwrap();
    assert!(service.deployments.classify("weather", vec!["rain".to_string()]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_lasts_until_it_is_revoked_or_expires() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(60)).await.id;
    let run = finished(&service, dataset, |dataset| small_run(dataset, 1)).await;
    let deployments = &service.deployments;
    deployments.create("weather", AdapterSource::Run(run), "").await.unwrap();
    let brand = Brand::parse("Weather", "W", "#004080", "weather").unwrap();
    assert!(deployments.create_demo("nowhere", brand.clone(), None).await.is_err());
    assert!(deployments.create_demo("weather", brand.clone(), Some(0)).await.is_err());
    let lasting = deployments.create_demo("weather", brand.clone(), None).await.unwrap();
    let other = deployments.create_demo("weather", brand, Some(7)).await.unwrap();
    assert_eq!((lasting.token.len(), lasting.token == other.token), (32, false));
    assert!(!other.is_open_at(other.created_at_ms + 7 * 24 * 60 * 60 * 1000));

    let ask = async |token: &str, text: &str| deployments.classify_demo(token, "192.0.2.1", text.to_string()).await;
    assert_eq!(ask(&lasting.token, "rain").await.unwrap().classification.predictions.len(), 1);
    assert_eq!(told(ask("0123", "rain").await.unwrap_err()).kind, ErrorKind::NotFound);
    assert_eq!(told(ask(&lasting.token, &"x".repeat(2001)).await.unwrap_err()).kind, ErrorKind::Invalid);
    deployments.revoke_demo(&lasting.token).await.unwrap();
    assert_eq!(told(ask(&lasting.token, "rain").await.unwrap_err()).kind, ErrorKind::NotFound);
    assert!(deployments.revoke_demo(&lasting.token).await.is_err());

    // One address cannot ask on and on.
    let refused = loop {
        if let Err(error) = ask(&other.token, "rain").await {
            break told(error);
        }
    };
    assert_eq!(refused.kind, ErrorKind::Busy);
    assert!(refused.retry_after_s.is_some());
    deployments.classify_demo(&other.token, "192.0.2.2", "rain".to_string()).await.unwrap();
}
