use crate::components::{Card, TableScroll};
use crate::format;
use domain::catalogue::AdapterSource;
use domain::run::RunDetail;
use domain::runs_comparison::ComparedRun;
use domain::spec::KNOBS;
use domain::split::Split;
use leptos::prelude::*;

/// What was set differently in these runs, and nothing else.
#[component]
pub fn SettingsDifference(runs: Vec<ComparedRun>) -> impl IntoView {
    let details: Vec<&RunDetail> = runs.iter().map(|run| &run.detail).collect();
    let lines = differences(&details);
    if lines.is_empty() {
        return view! {
            <Card title="Settings">
                <p class="soft">"All of these runs have the same settings and the same data."</p>
            </Card>
        }
        .into_any();
    }
    let heads =
        details.iter().map(|detail| view! { <th scope="col">{detail.summary.name.clone()}</th> }).collect_view();
    let rows = lines
        .into_iter()
        .map(|(name, values)| {
            let cells = values.into_iter().map(|value| view! { <td class="setting-value">{value}</td> }).collect_view();
            view! {
                <tr>
                    <th scope="row" class="main">
                        {name}
                    </th>
                    {cells}
                </tr>
            }
        })
        .collect_view();
    view! {
        <Card title="Settings" note="What differs; everything else is the same in all of them.">
            <TableScroll label="Settings that differ">
                <table class="table compare-table">
                    <thead>
                        <tr>
                            <th scope="col">"Setting"</th>
                            {heads}
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
        </Card>
    }
    .into_any()
}

/// Name and values, one per run, of everything that is not the same in all of them.
fn differences(details: &[&RunDetail]) -> Vec<(String, Vec<String>)> {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    let mut put = |name: &str, value: &dyn Fn(&RunDetail) -> String| {
        let values: Vec<String> = details.iter().map(|detail| value(detail)).collect();
        if values.windows(2).any(|pair| pair[0] != pair[1]) {
            lines.push((name.to_string(), values));
        }
    };
    put("Dataset", &|detail| format!("{}, version {}", detail.summary.dataset_name, detail.summary.dataset_version));
    put("Split", &|detail| split_words(&detail.split));
    put("Training rows", &|detail| format::count(detail.train_rows));
    put("Validation rows", &|detail| format::count(detail.validation_rows));
    put("Test rows", &|detail| format::count(detail.test_rows));
    put("Labels", &|detail| detail.summary.labels.join(", "));
    put("Base model", &|detail| detail.summary.base_model.clone());
    put("Started from", &|detail| match detail.start_from {
        None => "a new adapter".to_string(),
        Some(AdapterSource::Run(id)) => format!("run {id}"),
        Some(AdapterSource::Model(id)) => format!("adapter {id} of the catalogue"),
    });
    for knob in KNOBS.iter() {
        put(knob.title, &|detail| detail.spec.get(knob.name).unwrap_or_default().replace(',', ", "));
    }
    lines
}

/// In few words: the run's page has them all.
fn split_words(split: &Split) -> String {
    match split {
        Split::Percent { train, validation, test, seed } => format!("{train}/{validation}/{test} %, seed {seed}"),
        Split::PerLabel { train, validation, test, seed } => {
            format!("{train}/{validation}/{test} rows per label, seed {seed}")
        }
        Split::OwnTest { test_dataset, validation_dataset, validation, seed } => match validation_dataset {
            Some(dataset) => format!("test: dataset {test_dataset}, validation: dataset {dataset}"),
            None => format!("test: dataset {test_dataset}, validation {validation} %, seed {seed}"),
        },
        Split::Column { validation, seed } => format!("split column, validation {validation} %, seed {seed}"),
        Split::Frozen { validation, seed } => format!("frozen test set, validation {validation} %, seed {seed}"),
        Split::Fold { fold, folds, .. } => format!("fold {} of {folds}", fold + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::catalogue::OWN_MODEL;
    use domain::run::{RunStatus, RunSummary};
    use domain::spec::TrainSpec;

    fn detail(id: i64, r: u64) -> RunDetail {
        RunDetail {
            summary: RunSummary {
                id,
                name: format!("run {id}"),
                status: RunStatus::Finished,
                dataset_id: 1,
                dataset_name: "data".into(),
                dataset_version: 1,
                base_model: "base".into(),
                labels: vec!["a".into()],
                accuracy_before: None,
                accuracy_after: None,
                macro_f1_after: None,
                cleanliness: None,
                failure: None,
                created_at_ms: 0,
                started_at_ms: None,
                ended_at_ms: None,
                ahead_in_queue: 0,
                progress: 1.0,
            },
            spec: TrainSpec { r, ..TrainSpec::default() },
            split: Split::default(),
            train_rows: 1,
            validation_rows: 1,
            test_rows: 1,
            resumable: false,
            base_model: OWN_MODEL,
            start_from: None,
        }
    }

    #[test]
    fn only_what_differs_is_listed() {
        let (one, same, other) = (detail(1, 16), detail(2, 16), detail(3, 64));
        assert!(differences(&[&one, &same]).is_empty());
        let found = differences(&[&one, &same, &other]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, ["16", "16", "64"]);
        assert!(differences(&[]).is_empty());
    }
}
