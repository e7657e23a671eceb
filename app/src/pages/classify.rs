//! Texts in, labels with their probabilities out; the base without the adapter beside them.

use crate::api::classify::{Answer, classify, list_classifiers};
use crate::components::{
    Button, ButtonKind, ButtonLink, Card, EmptyState, ErrorNotice, Field, LabelName, Loading, PageHeader, label_class,
};
use crate::error::ApiError;
use crate::format;
use domain::error::UserError;
use domain::prediction::Prediction;
use domain::run::{RunId, RunSummary};
use leptos::ev::SubmitEvent;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_query_map};
use leptos_router::location::Url;

/// What is to be classified, and by what. It stands in the page's address as far as that can hold it, so that the
/// page works as a plain form and can be linked to.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    run: RunId,
    texts: Vec<String>,
}

/// Longest address, in bytes, that texts are put into; longer ones are sent without it.
const LONGEST_ADDRESS: usize = 6000;

#[component]
pub fn ClassifyPage() -> impl IntoView {
    let runs = Resource::new_blocking(|| (), |()| list_classifiers());
    view! {
        <PageHeader
            title="Classify"
            subtitle=Some("See what a finished run says of a text, and what the base says without it.".to_string())
        />
        <Suspense fallback=|| {
            view! { <Loading what="runs" /> }
        }>
            {move || Suspend::new(async move {
                match runs.await {
                    Err(error) => view! { <ErrorNotice error /> }.into_any(),
                    Ok(runs) if runs.is_empty() => view! { <NothingToClassifyWith /> }.into_any(),
                    Ok(runs) => view! { <Classify runs /> }.into_any(),
                }
            })}
        </Suspense>
    }
    .into_any()
}

#[component]
fn NothingToClassifyWith() -> impl IntoView {
    view! {
        <EmptyState
            title="No finished run yet"
            text="Texts are classified by the adapter that a run has trained. Start a run and come back when it is finished."
        >
            <ButtonLink href="/runs/new" kind=ButtonKind::Primary>
                "Start a run"
            </ButtonLink>
        </EmptyState>
    }
    .into_any()
}

#[component]
fn Classify(runs: Vec<RunSummary>) -> impl IntoView {
    let query = use_query_map();
    let navigate = use_navigate();
    let asked = query.read_untracked();
    let wanted = asked.get_str("run").and_then(|id| id.parse::<RunId>().ok());
    let unknown = wanted.filter(|wanted| !runs.iter().any(|run| run.id == *wanted));
    let first = wanted.filter(|_| unknown.is_none()).unwrap_or_else(|| runs[0].id);
    let run = RwSignal::new(first.to_string());
    let words = asked.get("texts").unwrap_or_default();
    let texts = RwSignal::new(words.clone());
    drop(asked);

    // What stands in the address is answered with the page, so that a plain form gets its answer.
    let question = (!lines(&words).is_empty()).then(|| Question { run: first, texts: lines(&words) });
    let first_answer = Resource::new_blocking(
        move || question.clone(),
        |question| async move {
            match question {
                Some(Question { run, texts }) => Some(classify(run, texts).await),
                None => None,
            }
        },
    );
    let asking = Action::new(|question: &Question| classify(question.run, question.texts.clone()));
    let missing = RwSignal::new(None::<String>);
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        let asked = lines(&texts.read_untracked());
        if asked.is_empty() {
            missing.set(Some("Type or paste at least one text.".to_string()));
            return;
        }
        missing.set(None);
        let Ok(run) = run.read_untracked().parse() else { return };
        asking.dispatch(Question { run, texts: asked });
        let address = format!("/classify?run={run}&texts={}", Url::escape(&texts.read_untracked()));
        let address = if address.len() > LONGEST_ADDRESS { format!("/classify?run={run}") } else { address };
        navigate(&address, NavigateOptions { replace: true, scroll: false, ..NavigateOptions::default() });
    };
    let options = runs
        .iter()
        .map(|choice| {
            let id = choice.id.to_string();
            let accuracy =
                choice.accuracy_after.map_or(String::new(), |accuracy| format!(" ({})", format::percent(accuracy)));
            view! {
                <option value=id.clone() selected=choice.id == first>
                    {format!("{}{accuracy}", choice.name)}
                </option>
            }
        })
        .collect_view();
    let shown = move || asking.value().get().or_else(|| first_answer.get().flatten());
    view! {
        <div class="stack-loose">
            {unknown
                .map(|id| {
                    let message = format!("Run {id} cannot classify: it does not exist or is not finished. Another one is chosen below.");
                    view! { <ErrorNotice error=ApiError::from(UserError::not_found(message)) /> }
                })}
            <Card>
                <form method="get" action="/classify" class="stack" on:submit=submit>
                    <Field label="Run" id="classify-run">
                        <select
                            class="select"
                            id="classify-run"
                            name="run"
                            prop:value=move || run.get()
                            on:change=move |event| run.set(event_target_value(&event))
                        >
                            {options}
                        </select>
                    </Field>
                    <Field label="Texts" id="classify-texts" help="One text per line." error=missing>
                        <textarea
                            class="textarea"
                            id="classify-texts"
                            name="texts"
                            rows="5"
                            required=true
                            aria-describedby="classify-texts-help classify-texts-error"
                            prop:value=move || texts.get()
                            on:input=move |event| texts.set(event_target_value(&event))
                        >
                            {words}
                        </textarea>
                    </Field>
                    <div class="row">
                        <Button type_="submit" kind=ButtonKind::Primary pending=asking.pending()>
                            "Classify"
                        </Button>
                        <span class="soft small" role="status">
                            {move || {
                                if asking.pending().get() {
                                    "The model is reading…".to_string()
                                } else {
                                    format::counted(lines(&texts.read()).len() as u64, "text", "texts")
                                }
                            }}
                        </span>
                    </div>
                </form>
            </Card>
            <Transition fallback=|| {
                view! { <Loading what="answers" /> }
            }>
                {move || {
                    shown()
                        .map(|answer| match answer {
                            Ok(answer) => view! { <Answers answer /> }.into_any(),
                            Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        })
                }}
            </Transition>
        </div>
    }
    .into_any()
}

/// Every line that is not blank is a text.
fn lines(words: &str) -> Vec<String> {
    words.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect()
}

#[component]
fn Answers(answer: Answer) -> impl IntoView {
    let Answer { texts, tuned, base } = answer;
    let took = format!(
        "{} in {:.0} ms with the adapter, {:.0} ms without.",
        format::counted(texts.len() as u64, "text", "texts"),
        tuned.duration_ms,
        base.duration_ms
    );
    let labels = tuned.labels;
    let cards = texts
        .into_iter()
        .zip(tuned.predictions)
        .zip(base.predictions)
        .map(|((text, tuned), base)| {
            let cut =
                tuned.cut.then(|| view! { <p class="small soft">"Longer than the context: its end was not read."</p> });
            view! {
                <li class="card answer-card">
                    <p class="answer-text">{text}</p>
                    {cut}
                    <div class="answer-sides">
                        <Side title="With the adapter" prediction=tuned labels=labels.clone() />
                        <Side title="Base without it" prediction=base labels=labels.clone() />
                    </div>
                </li>
            }
        })
        .collect_view();
    view! {
        <section class="stack" aria-label="Answers">
            <h2 class="visually-hidden">"Answers"</h2>
            <p class="soft number" role="status">
                {took}
            </p>
            <ol class="answers">{cards}</ol>
        </section>
    }
    .into_any()
}

/// One answer: the label, and the probability of every label as a bar.
#[component]
fn Side(title: &'static str, prediction: Prediction, labels: Vec<String>) -> impl IntoView {
    let chosen = labels.get(prediction.label).cloned().unwrap_or_default();
    let bars = labels
        .into_iter()
        .zip(&prediction.probabilities)
        .enumerate()
        .map(|(index, (label, probability))| {
            let probability = f64::from(*probability);
            view! {
                <li class=format!("probability {}", label_class(index)) class:is-chosen=index == prediction.label>
                    <span class="probability-name" title=label.clone()>
                        {label.clone()}
                    </span>
                    <span class="probability-track" aria-hidden="true">
                        <span class="probability-fill" style=format!("width:{:.2}%", 100.0 * probability)></span>
                    </span>
                    <span class="probability-value number">{format::percent(probability)}</span>
                </li>
            }
        })
        .collect_view();
    view! {
        <div class="answer-side">
            <h3 class="answer-title">{title}</h3>
            <p class="answer-label">
                <LabelName index=Some(prediction.label) name=chosen />
            </p>
            <ul class="probabilities">{bars}</ul>
        </div>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn every_line_that_is_not_blank_is_a_text() {
        assert_eq!(lines("  one \r\n\r\n two\n\n"), ["one", "two"]);
        assert!(lines(" \n\t").is_empty());
    }
}
