use super::test_rows::rows_address;
use crate::components::{Card, ChangeTile, ClassTable, CleanlinessBadge, Confusion};
use crate::format;
use crate::live::LiveRun;
use domain::cleanliness::Score;
use domain::metrics::{ConfusionMatrix, Evaluation};
use domain::row_query::RowQuery;
use domain::run::{Moment, RunId, RunSummary};
use leptos::prelude::*;

/// What training changed: headline figures, both confusion matrices side by side, and every label's figures.
#[component]
pub fn RunResults(
    before: Memo<Option<Evaluation>>,
    after: Memo<Option<Evaluation>>,
    summary: RwSignal<RunSummary>,
    live: LiveRun,
    /// The answers are stored: cells of the matrices lead to their rows, and the scores stand in a part of their own.
    is_finished: Signal<bool>,
) -> impl IntoView {
    let run = summary.with_untracked(|summary| summary.id);
    let looked = Memo::new(move |_| live.picture.read().validation_confusion.clone());
    let partial = Memo::new(move |_| live.picture.read().partial.clone());
    let anything = move || before.read().is_some() || after.read().is_some() || partial.read().is_some();
    let figure =
        move |figure: fn(&Evaluation) -> f64| (before.read().as_ref().map(figure), after.read().as_ref().map(figure));
    let tiles = move || {
        let (accuracy_before, accuracy_after) = figure(|evaluation| evaluation.accuracy);
        let (f1_before, f1_after) = figure(|evaluation| evaluation.macro_f1);
        view! {
            <dl class="change-tiles">
                <ChangeTile
                    name="Accuracy on the test rows"
                    before=accuracy_before
                    after=accuracy_after
                    empty="being measured"
                />
                <ChangeTile name="Macro-F1 on the test rows" before=f1_before after=f1_after empty="being measured" />
            </dl>
        }
    };
    let cleanliness = Memo::new(move |_| summary.read().cleanliness);
    let score = |evaluation: &Evaluation| Score { accuracy: evaluation.accuracy, macro_f1: evaluation.macro_f1 };
    let badge = move || {
        view! {
            <CleanlinessBadge
                cleanliness=cleanliness.get()
                before=before.read().as_ref().map(score)
                after=after.read().as_ref().map(score)
            />
        }
    };
    view! {
        <Show when=anything>
            <Card title="Before and after" note="The same test rows, scored by the base as it is and by the trained adapter.">
                <div class="stack">
                    {tiles}
                    <div>{badge}</div>
                    <div class="confusions">
                        {move || side(Moment::Before, before.get(), partial.get(), None, leads_to(run, is_finished.get()))}
                        {move || {
                            side(Moment::After, after.get(), partial.get(), looked.get(), leads_to(run, is_finished.get()))
                        }}
                    </div>
                    {move || cut_rows(after.get().or(before.get()))}
                </div>
                {move || {
                    let is_known = before.read().is_some() || after.read().is_some();
                    (is_known && !is_finished.get())
                        .then(|| view! { <ClassTable before=before.get() after=after.get() /> })
                }}
            </Card>
        </Show>
    }
    .into_any()
}

/// Where the cells of the matrices lead.
fn leads_to(run: RunId, is_finished: bool) -> Option<RunId> {
    is_finished.then_some(run)
}

/// One of the two matrices: whole, as far as it is counted, that of the last look at the validation rows, or a word on when
/// it will be there.
fn side(
    moment: Moment,
    evaluation: Option<Evaluation>,
    partial: Option<(Moment, ConfusionMatrix)>,
    looked: Option<(u64, ConfusionMatrix)>,
    run: Option<RunId>,
) -> AnyView {
    let title = match moment {
        Moment::Before => "Before training",
        Moment::After => "After training",
    };
    if let Some(evaluation) = evaluation {
        let matrix = evaluation.confusion;
        let Some(run) = run else { return view! { <Confusion title matrix /> }.into_any() };
        let href = move |truth: usize, answer: usize| {
            let of_base = moment == Moment::Before;
            let query = RowQuery { truth: Some(truth), answer: Some(answer), of_base, ..RowQuery::default() };
            rows_address(run, &query)
        };
        return view! { <Confusion title matrix cell_href=href /> }.into_any();
    }
    if let Some((_, matrix)) = partial.filter(|(of, _)| *of == moment) {
        let note =
            format!("so far {} rows, {} right", format::count(matrix.total()), format::percent(matrix.accuracy()));
        return view! { <Confusion title matrix note /> }.into_any();
    }
    if let Some((step, matrix)) = looked {
        let title = "Validation rows, so far";
        let note = format!("at step {}, {} right", format::count(step), format::percent(matrix.accuracy()));
        return view! { <Confusion title matrix note /> }.into_any();
    }
    view! {
        <div class="confusion confusion-pending">
            <strong>{title}</strong>
            <p class="soft">
                {match moment {
                    Moment::Before => "No baseline was scored.",
                    Moment::After => "Scored when training is done.",
                }}
            </p>
        </div>
    }
    .into_any()
}

fn cut_rows(evaluation: Option<Evaluation>) -> Option<impl IntoView> {
    let evaluation = evaluation?;
    let cut = (evaluation.cut_rows > 0).then(|| {
        format!(
            "{} longer than the context; the end of the text was cut away. ",
            format::counted(evaluation.cut_rows, "test row was", "test rows were")
        )
    });
    let seconds = format!(
        "Scoring {} took {}.",
        format::counted(evaluation.rows(), "row", "rows"),
        format::duration(evaluation.seconds)
    );
    Some(view! { <p class="small soft">{cut}{seconds}</p> })
}
