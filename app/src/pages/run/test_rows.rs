use crate::api::evaluations::list_test_rows;
use crate::components::{Button, Card, ErrorNotice, LabelName, Loading, Pager, SaveLink, TableScroll};
use crate::format;
use crate::while_shown::while_shown;
use crate::why::Why;
use domain::catalogue::AdapterSource;
use domain::cleanliness::TestRowFlags;
use domain::prediction::Prediction;
use domain::row_query::{Finding, NumberedRow, Outcome, PAGE_SIZE, RowOrder, RowQuery, RowsPage};
use domain::run::RunId;
use leptos::ev::SubmitEvent;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{FormData, HtmlFormElement};
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_query_map};

/// The address of a run's page with these test rows in sight.
pub fn rows_address(run: RunId, query: &RowQuery) -> String {
    format!("/runs/{run}?{}#test-rows", query.to_address())
}

/// The test rows one by one: truth, answer before, answer after. What is shown of them stands in the address.
#[component]
pub fn TestRows(run: RunId, labels: Vec<String>) -> impl IntoView {
    let fields = use_query_map();
    let shown = Memo::new(move |_| {
        let fields = fields.read();
        RowQuery::from_fields(|name| fields.get(name))
    });
    let rows = Resource::new(while_shown(shown), move |query| list_test_rows(run, query));
    let labels = StoredValue::new(labels);
    view! {
        <Card title="Test rows" note="What the base and the adapter answered for every test row.">
            <div id="test-rows" class="stack">
                <OutcomeLinks run shown />
                <Filters run shown labels=labels.get_value() />
                <Transition fallback=|| {
                    view! { <Loading what="test rows" /> }
                }>
                    {move || Suspend::new(async move {
                        match rows.await {
                            Ok(page) => view! { <RowTable run page labels=labels.get_value() /> }.into_any(),
                            Err(error) => view! { <ErrorNotice error /> }.into_any(),
                        }
                    })}
                </Transition>
            </div>
        </Card>
    }
    .into_any()
}

#[component]
fn OutcomeLinks(run: RunId, shown: Memo<RowQuery>) -> impl IntoView {
    let links = Outcome::ALL
        .into_iter()
        .map(|outcome| {
            let here = move || (shown.read().outcome == outcome).then_some("true");
            let href = move || rows_address(run, &RowQuery { outcome, page: 0, ..shown.get() });
            view! {
                <a class="filter-link" href=href aria-current=here>
                    {outcome.title()}
                </a>
            }
        })
        .collect_view();
    view! { <nav class="filter-links" aria-label="Which test rows are shown">{links}</nav> }.into_any()
}

/// A plain form: without a script the browser sends it as an address.
#[component]
fn Filters(run: RunId, shown: Memo<RowQuery>, labels: Vec<String>) -> impl IntoView {
    let navigate = use_navigate();
    let submit = move |event: SubmitEvent| {
        let Some(form) = event.target().and_then(|form| form.dyn_into::<HtmlFormElement>().ok()) else { return };
        let Ok(data) = FormData::new_with_form(&form) else { return };
        event.prevent_default();
        let query = RowQuery::from_fields(|name| data.get(name).as_string());
        navigate(&rows_address(run, &query), NavigateOptions { scroll: false, ..NavigateOptions::default() });
    };
    let of_label = |name: &'static str, words: &'static str, chosen: fn(&RowQuery) -> Option<usize>| {
        let id = format!("rows-{name}");
        let value = move || chosen(&shown.read()).map_or_else(String::new, |label| label.to_string());
        let options = labels
            .iter()
            .enumerate()
            .map(|(index, label)| {
                let is_chosen = move || chosen(&shown.read()) == Some(index);
                view! {
                    <option value=index.to_string() selected=is_chosen>
                        {label.clone()}
                    </option>
                }
            })
            .collect_view();
        view! {
            <label class="row-filter" for=id.clone()>
                <span>{words}</span>
                <select class="select select-small" id=id.clone() name=name prop:value=value>
                    <option value="">"any"</option>
                    {options}
                </select>
            </label>
        }
    };
    let number =
        |name: &'static str, words: &'static str, most: &'static str, value: fn(&RowQuery) -> Option<String>| {
            let now = move || value(&shown.read()).unwrap_or_default();
            view! {
                <input
                    class="input input-small"
                    type="number"
                    name=name
                    min="0"
                    max=most
                    step="any"
                    aria-label=words
                    value=now
                    prop:value=now
                />
            }
        };
    let choice = |name: &'static str,
                  words: &'static str,
                  choices: Vec<(&'static str, &'static str)>,
                  value: fn(&RowQuery) -> &'static str| {
        let id = format!("rows-{name}");
        let options = choices
            .into_iter()
            .map(|(word, title)| {
                view! {
                    <option value=word selected=move || value(&shown.read()) == word>
                        {title}
                    </option>
                }
            })
            .collect_view();
        view! {
            <label class="row-filter" for=id.clone()>
                <span>{words}</span>
                <select class="select select-small" id=id.clone() name=name prop:value=move || value(&shown.read())>
                    {options}
                </select>
            </label>
        }
    };
    let findings = Finding::ALL.map(|finding| (finding.as_str(), finding.title())).to_vec();
    let orders = RowOrder::ALL.map(|order| (order.as_str(), order.title())).to_vec();
    let words = move || shown.read().words.clone();
    view! {
        <form class="row-filters" method="get" action=format!("/runs/{run}#test-rows") on:submit=submit aria-label="Filter the test rows">
            <input type="hidden" name="rows" value=move || shown.read().outcome.as_str() />
            {of_label("true", "True label", |query| query.truth)}
            {of_label("answer", "Answer", |query| query.answer)}
            {choice("of", "Answer given", vec![("after", "after training"), ("before", "before training")], |query| {
                if query.of_base { "before" } else { "after" }
            })}
            <fieldset class="row-filter">
                <legend>"Confidence, %"</legend>
                {number("from", "Least confidence in percent", "100", |query| query.least_confidence.map(|v| v.to_string()))}
                "–"
                {number("to", "Most confidence in percent", "100", |query| query.most_confidence.map(|v| v.to_string()))}
            </fieldset>
            <fieldset class="row-filter">
                <legend>"Length, characters"</legend>
                {number("shortest", "Shortest text in characters", "1000000", |query| query.shortest.map(|v| v.to_string()))}
                "–"
                {number("longest", "Longest text in characters", "1000000", |query| query.longest.map(|v| v.to_string()))}
            </fieldset>
            {choice("finding", "Data check", findings, |query| query.finding.as_str())}
            <label class="row-filter" for="rows-words">
                <span>"Has the words"</span>
                <input class="input input-small" id="rows-words" name="words" value=words prop:value=words />
            </label>
            {choice("order", "In order of", orders, |query| query.order.as_str())}
            <label class="check row-filter-check">
                <input
                    type="checkbox"
                    name="down"
                    value="1"
                    checked=move || shown.read().descending
                    prop:checked=move || shown.read().descending
                />
                <span>"largest first"</span>
            </label>
            <div class="row-filter-actions">
                <Button type_="submit">"Show"</Button>
                <a class="button button-quiet" href=move || rows_address(run, &RowQuery::default())>
                    "All rows"
                </a>
            </div>
        </form>
    }
    .into_any()
}

#[component]
fn RowTable(run: RunId, page: RowsPage, labels: Vec<String>) -> impl IntoView {
    let RowsPage { rows, matching, total, query } = page;
    let found = if query.filters() {
        format!("{} of {}", format::count(matching), format::counted(total, "test row", "test rows"))
    } else {
        format::counted(total, "test row", "test rows")
    };
    let everything = RowQuery { page: 0, ..query.clone() }.to_address();
    let head = view! {
        <div class="row-between small">
            <span role="status" class="number">
                {found}
            </span>
            <span class="row save-links">
                <span class="soft">"Save these"</span>
                <SaveLink href=format!("/runs/{run}/rows.csv?{everything}") words="CSV" />
                <SaveLink href=format!("/runs/{run}/rows.json?{everything}") words="JSON" />
            </span>
        </div>
    };
    if rows.is_empty() {
        return view! {
            {head}
            <p class="soft">"No test row is of this kind."</p>
        }
        .into_any();
    }
    let number = query.page;
    let heads = {
        let query = query.clone();
        move || {
            [
                ("Text", Some(RowOrder::Text)),
                ("True label", Some(RowOrder::Truth)),
                ("Before", None),
                ("After", Some(RowOrder::Confidence)),
            ]
            .map(|(words, order)| sorted_head(run, &query, words, order))
            .collect_view()
        }
    };
    view! {
        {head}
        <TableScroll label="Test rows">
            <table class="table table-restack test-rows">
                <thead>
                    <tr>{heads()}</tr>
                </thead>
                <tbody>
                    // Keyed, so that what explains a row never explains another one.
                    <For
                        each=move || rows.clone()
                        key=|row| row.place
                        children=move |row| view! { <RowLine run row labels=labels.clone() /> }
                    />
                </tbody>
            </table>
        </TableScroll>
        <Pager
            page=number
            page_size=PAGE_SIZE
            total=matching
            what="test rows"
            href=move |page| rows_address(run, &RowQuery { page, ..query.clone() })
        />
    }
    .into_any()
}

/// The head of a column, by which rows can be put in order: first upwards, then downwards.
fn sorted_head(run: RunId, query: &RowQuery, words: &'static str, order: Option<RowOrder>) -> AnyView {
    let Some(order) = order else { return view! { <th scope="col">{words}</th> }.into_any() };
    let is_here = query.order == order;
    let sort = match (is_here, query.descending) {
        (false, _) => "none",
        (true, false) => "ascending",
        (true, true) => "descending",
    };
    let mark = match sort {
        "ascending" => " ↑",
        "descending" => " ↓",
        _ => "",
    };
    let next = RowQuery { order, descending: is_here && !query.descending, page: 0, ..query.clone() };
    view! {
        <th scope="col" aria-sort=sort>
            <a class="sort-link" href=rows_address(run, &next)>
                {words}
                <span aria-hidden="true">{mark}</span>
            </a>
        </th>
    }
    .into_any()
}

#[component]
fn RowLine(run: RunId, row: NumberedRow, labels: Vec<String>) -> impl IntoView {
    let NumberedRow { place, row } = row;
    let name = |index: usize| labels.get(index).cloned().unwrap_or_default();
    let truth = row.truth;
    let answer = |prediction: Option<Prediction>| {
        prediction.map(|prediction| {
            let right = prediction.label == truth;
            let (class, word) = if right { ("answer is-right", "right") } else { ("answer is-wrong", "wrong") };
            view! {
                <span class=class>
                    <span aria-hidden="true">{if right { "✓" } else { "✗" }}</span>
                    <span class="visually-hidden">{word}</span>
                    {name(prediction.label)}
                    <span class="soft number">{format::percent(f64::from(prediction.confidence()))}</span>
                </span>
            }
        })
    };
    let cut = row.after.as_ref().is_some_and(|answer| answer.cut);
    view! {
        <tr>
            <td class="text wide">
                {row.text.clone()}
                {flag_words(row.flags, cut).map(|words| view! { <span class="row-flags">{words}</span> })}
                <Why source=AdapterSource::Run(run) text=row.text labels=labels.clone() id=place.to_string() />
            </td>
            <td data-name="True">
                <LabelName index=Some(truth) name=name(truth) />
            </td>
            <td data-name="Before">{answer(row.before)}</td>
            <td data-name="After">{answer(row.after)}</td>
        </tr>
    }
    .into_any()
}

/// What is to be known of a row before its answer is believed.
fn flag_words(flags: TestRowFlags, cut: bool) -> Option<String> {
    let found = [
        (flags.is_contradicted, "contradicted elsewhere"),
        (flags.is_in_training, "also in training"),
        (cut, "cut to the context"),
    ];
    let words: Vec<&str> = found.into_iter().filter(|(is, _)| *is).map(|(_, words)| words).collect();
    (!words.is_empty()).then(|| words.join(" · "))
}
