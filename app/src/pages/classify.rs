//! Texts in, labels with their probabilities out; the base without the adapter beside them.

use crate::api::classify::{Answer, Classifiers, classify, list_classifiers};
use crate::api::source;
use crate::components::{
    Button, ButtonKind, ButtonLink, Card, EmptyState, ErrorNotice, Field, LabelName, Loading, PageHeader, label_class,
};
use crate::error::ApiError;
use crate::format;
use crate::why::Why;
use domain::catalogue::AdapterSource;
use domain::error::UserError;
use domain::prediction::Prediction;
use leptos::ev::SubmitEvent;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_query_map};
use leptos_router::location::Url;
use leptos_router::params::ParamsMap;

/// What is to be classified, and by what. It stands in the page's address as far as that can hold it, so that the
/// page works as a plain form and can be linked to.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    with: AdapterSource,
    texts: Vec<String>,
}

/// Longest address, in bytes, that texts are put into; longer ones are sent without it.
const LONGEST_ADDRESS: usize = 6000;

#[component]
pub fn ClassifyPage() -> impl IntoView {
    let classifiers = Resource::new_blocking(|| (), |()| list_classifiers());
    view! {
        <PageHeader
            title="Classify"
            subtitle=Some("See what a trained adapter says of a text, and what the base says without it.".to_string())
        />
        <Suspense fallback=|| {
            view! { <Loading what="classifiers" /> }
        }>
            {move || Suspend::new(async move {
                match classifiers.await {
                    Err(error) => view! { <ErrorNotice error /> }.into_any(),
                    Ok(classifiers) => {
                        let choices = Choice::all_of(&classifiers);
                        match choices.first().map(|choice| choice.source) {
                            None => view! { <NothingToClassifyWith /> }.into_any(),
                            Some(newest) => view! { <Classify choices newest /> }.into_any(),
                        }
                    }
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
            title="Nothing to classify with yet"
            text="Texts are classified by the adapter that a run has trained, or by one of others that is in the catalogue. Start a run and come back when it is finished."
        >
            <ButtonLink href="/runs/new" kind=ButtonKind::Primary>
                "Start a run"
            </ButtonLink>
        </EmptyState>
    }
    .into_any()
}

/// One of those that can be classified with.
#[derive(Clone, Debug)]
struct Choice {
    source: AdapterSource,
    words: String,
}

impl Choice {
    /// Runs first, the newest of them first of all.
    fn all_of(classifiers: &Classifiers) -> Vec<Self> {
        let runs = classifiers.runs.iter().map(|run| {
            let accuracy =
                run.accuracy_after.map_or(String::new(), |accuracy| format!(" ({})", format::percent(accuracy)));
            Self { source: AdapterSource::Run(run.id), words: format!("{}{accuracy}", run.name) }
        });
        let adapters = classifiers.adapters.iter().filter_map(|model| {
            let base = &model.adapter.as_ref()?.base_name;
            let words = format!("{} (on {base})", format::model_name(model));
            Some(Self { source: AdapterSource::Model(model.id), words })
        });
        runs.chain(adapters).collect()
    }
}

/// The adapter that the page's address names: `run=3`, `adapter=4`, or `with=run-3` as the form sends it. `Err` with the
/// words for one that is none.
fn named(asked: &ParamsMap) -> Option<Result<AdapterSource, String>> {
    let read = |field: &str, source: fn(i64) -> AdapterSource| {
        let words = asked.get(field)?;
        Some(words.parse().map(source).map_err(|_| format!("{field} {words}")))
    };
    read("run", AdapterSource::Run).or_else(|| read("adapter", AdapterSource::Model)).or_else(|| {
        let words = asked.get("with")?;
        Some(source::parse(&words).ok_or(words))
    })
}

/// The page's address for an adapter.
fn address_of(with: AdapterSource) -> String {
    match with {
        AdapterSource::Run(id) => format!("/classify?run={id}"),
        AdapterSource::Model(id) => format!("/classify?adapter={id}"),
    }
}

#[component]
fn Classify(choices: Vec<Choice>, newest: AdapterSource) -> impl IntoView {
    let query = use_query_map();
    let navigate = use_navigate();
    let asked = query.read_untracked();
    let is_there = |source: &AdapterSource| choices.iter().any(|choice| choice.source == *source);
    let wanted = named(&asked).map(|named| match named {
        Ok(source) if is_there(&source) => Ok(source),
        Ok(source) => Err(source::word_of(source).replace('-', " ")),
        Err(words) => Err(words),
    });
    let unknown = wanted.clone().and_then(Result::err);
    let first = wanted.and_then(Result::ok).unwrap_or(newest);
    let with = RwSignal::new(source::word_of(first));
    let words = asked.get("texts").unwrap_or_default();
    let texts = RwSignal::new(words.clone());
    drop(asked);

    // What stands in the address is answered with the page, so that a plain form gets its answer.
    let question = (!lines(&words).is_empty()).then(|| Question { with: first, texts: lines(&words) });
    let first_answer = Resource::new_blocking(
        move || question.clone(),
        |question| async move {
            match question {
                Some(Question { with, texts }) => Some(classify(source::word_of(with), texts).await),
                None => None,
            }
        },
    );
    let asking = Action::new(|question: &Question| classify(source::word_of(question.with), question.texts.clone()));
    let missing = RwSignal::new(None::<String>);
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        let asked = lines(&texts.read_untracked());
        if asked.is_empty() {
            missing.set(Some("Type or paste at least one text.".to_string()));
            return;
        }
        missing.set(None);
        let Some(with) = source::parse(&with.read_untracked()) else { return };
        asking.dispatch(Question { with, texts: asked });
        let short = address_of(with);
        let address = format!("{short}&texts={}", Url::escape(&texts.read_untracked()));
        let address = if address.len() > LONGEST_ADDRESS { short } else { address };
        navigate(&address, NavigateOptions { replace: true, scroll: false, ..NavigateOptions::default() });
    };
    let (runs, adapters): (Vec<_>, Vec<_>) =
        choices.into_iter().partition(|choice| matches!(choice.source, AdapterSource::Run(_)));
    let groups = [("Finished runs", runs), ("Adapters of the catalogue", adapters)]
        .into_iter()
        .filter(|(_, choices)| !choices.is_empty())
        .map(|(name, choices)| view! { <Group name choices first /> })
        .collect_view();
    let shown = move || asking.value().get().or_else(|| first_answer.get().flatten());
    view! {
        <div class="stack-loose">
            {unknown
                .map(|words| {
                    let message = format!(
                        "There is nothing to classify with under “{words}”: it does not exist, is not finished or has no labels. Another one is chosen below."
                    );
                    view! { <ErrorNotice error=ApiError::from(UserError::not_found(message)) /> }
                })}
            <Card>
                <form method="get" action="/classify" class="stack" on:submit=submit>
                    <Field label="Classify with" id="classify-with">
                        <select
                            class="select"
                            id="classify-with"
                            name="with"
                            prop:value=move || with.get()
                            on:change=move |event| with.set(event_target_value(&event))
                        >
                            {groups}
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
                            Ok(answer) => view! { <Answers answer with=source::parse(&with.get_untracked()) /> }.into_any(),
                            Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        })
                }}
            </Transition>
        </div>
    }
    .into_any()
}

#[component]
fn Group(name: &'static str, choices: Vec<Choice>, first: AdapterSource) -> impl IntoView {
    let options = choices
        .into_iter()
        .map(|choice| {
            view! {
                <option value=source::word_of(choice.source) selected=choice.source == first>
                    {choice.words}
                </option>
            }
        })
        .collect_view();
    view! { <optgroup label=name>{options}</optgroup> }.into_any()
}

/// Every line that is not blank is a text.
fn lines(words: &str) -> Vec<String> {
    words.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect()
}

#[component]
fn Answers(answer: Answer, with: Option<AdapterSource>) -> impl IntoView {
    let Answer { texts, tuned, base } = answer;
    let took = format!(
        "{} in {:.0} ms with the adapter, {:.0} ms without.",
        format::counted(texts.len() as u64, "text", "texts"),
        tuned.duration_ms,
        base.duration_ms
    );
    let labels = tuned.labels;
    let answers: Vec<_> = texts.into_iter().zip(tuned.predictions).zip(base.predictions).enumerate().collect();
    // Keyed by the text, so that what explains an answer never explains another one.
    let key = move |(index, ((text, _), _)): &(usize, ((String, Prediction), Prediction))| {
        format!("{index} {} {text}", with.map_or_else(String::new, source::word_of))
    };
    let cards = view! {
        <For
            each=move || answers.clone()
            key
            children=move |(index, ((text, tuned), base))| {
                let cut = tuned
                    .cut
                    .then(|| view! { <p class="small soft">"Longer than the context: its end was not read."</p> });
                let why = with
                    .map(|source| {
                        view! { <Why source text=text.clone() labels=labels.clone() id=index.to_string() /> }
                    });
                view! {
                    <li class="card answer-card">
                        <p class="answer-text">{text}</p>
                        {cut}
                        <div class="answer-sides">
                            <Side title="With the adapter" prediction=tuned labels=labels.clone() />
                            <Side title="Base without it" prediction=base labels=labels.clone() />
                        </div>
                        {why}
                    </li>
                }
            }
        />
    };
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
    use super::*;

    #[test]
    fn every_line_that_is_not_blank_is_a_text() {
        assert_eq!(lines("  one \r\n\r\n two\n\n"), ["one", "two"]);
        assert!(lines(" \n\t").is_empty());
    }

    #[test]
    fn an_adapter_is_named_by_any_of_three_fields() {
        let named_by = |field: &str, words: &str| {
            let mut asked = ParamsMap::new();
            asked.insert(field.to_owned(), words.to_owned());
            named(&asked)
        };
        assert_eq!(named_by("run", "3"), Some(Ok(AdapterSource::Run(3))));
        assert_eq!(named_by("adapter", "4"), Some(Ok(AdapterSource::Model(4))));
        assert_eq!(named_by("with", "model-4"), Some(Ok(AdapterSource::Model(4))));
        assert_eq!(named_by("run", "last"), Some(Err("run last".to_owned())));
        assert_eq!(named_by("texts", "3"), None);
    }
}
