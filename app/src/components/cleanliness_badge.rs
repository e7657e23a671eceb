use super::{Change, Tone};
use crate::format;
use domain::cleanliness::{Cleanliness, Score};
use leptos::prelude::*;

/// What stands beside every score: whether its test rows deserve to be believed. It opens to both scores, on all rows and
/// on the clean ones alone.
#[component]
pub fn CleanlinessBadge(
    cleanliness: Option<Cleanliness>,
    /// On all test rows, as far as they are known.
    before: Option<Score>,
    after: Option<Score>,
) -> impl IntoView {
    let Some(found) = cleanliness else { return ().into_any() };
    let (tone, words) = match found.is_clean() {
        true => (Tone::Good, "clean".to_string()),
        false => (Tone::Warning, found.words()),
    };
    view! {
        <details class="badge">
            <summary class=format!("badge-words {}", tone.class())>
                <span class="visually-hidden">"Test rows: "</span>
                {words}
            </summary>
            <div class="badge-body">
                <p class="small">{why(&found)}</p>
                <table class="table badge-table">
                    <thead>
                        <tr>
                            <th scope="col">"Test rows"</th>
                            <th scope="col" class="number">
                                "Rows"
                            </th>
                            <th scope="col" class="number">
                                "Accuracy"
                            </th>
                            <th scope="col" class="number">
                                "Macro-F1"
                            </th>
                        </tr>
                    </thead>
                    <tbody>
                        <ScoreRow name="All" rows=found.test_rows before after />
                        <ScoreRow name="Clean ones" rows=found.clean_rows before=found.before after=found.after />
                    </tbody>
                </table>
            </div>
        </details>
    }
    .into_any()
}

fn why(found: &Cleanliness) -> &'static str {
    match (found.contradicted > 0, found.also_in_training > 0) {
        (false, false) => "No test row is contradicted by another row, and none is also in training.",
        (true, false) => {
            "A contradicted row has a text that carries another label elsewhere: no classifier can be right on both."
        }
        (false, true) => {
            "A row that is also in training, or nearly, is no test: the model may have learnt it by heart."
        }
        (true, true) => {
            "A contradicted row has a text that carries another label elsewhere; one that is also in training may have been \
             learnt by heart. Neither says how good the classifier is on new texts."
        }
    }
}

#[component]
fn ScoreRow(name: &'static str, rows: u64, before: Option<Score>, after: Option<Score>) -> impl IntoView {
    let figure = move |of: fn(Score) -> f64| match (before.map(of), after.map(of)) {
        (None, None) => "–".into_any(),
        (Some(before), None) => format!("{} before", format::percent(before)).into_any(),
        (None, Some(after)) => format::percent(after).into_any(),
        (Some(before), Some(after)) => view! {
            {format::percent(after)}
            " "
            <Change before after />
        }
        .into_any(),
    };
    view! {
        <tr>
            <th scope="row">{name}</th>
            <td class="number">{format::count(rows)}</td>
            <td class="number">{figure(|score| score.accuracy)}</td>
            <td class="number">{figure(|score| score.macro_f1)}</td>
        </tr>
    }
}
