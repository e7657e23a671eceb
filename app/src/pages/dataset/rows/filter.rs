use super::super::open::OpenDataset;
use super::super::words;
use super::{PARTS, address, part_word, pinned};
use domain::finding::FindingKind;
use domain::version::RowQuery;
use leptos::prelude::*;
use leptos::{ev, html};
use leptos_router::NavigateOptions;
use leptos_router::hooks::use_navigate;
use std::time::Duration;

/// After the last letter of a search.
const TYPING_PAUSE: Duration = Duration::from_millis(250);

/// Search and filters. Without the script the browser sends the form itself; with it rows follow what is typed.
#[component]
pub fn RowFilter(
    dataset: OpenDataset,
    asked: Memo<RowQuery>,
    /// The file says which rows are for training and which for testing.
    has_parts: bool,
) -> impl IntoView {
    let search = NodeRef::<html::Input>::new();
    let label = NodeRef::<html::Select>::new();
    let part = NodeRef::<html::Select>::new();
    let finding = NodeRef::<html::Select>::new();
    let navigate = use_navigate();
    let ask = move || {
        let chosen = |select: NodeRef<html::Select>| {
            select.get_untracked().map(|select| select.value()).filter(|value| !value.is_empty())
        };
        let Some(search) = search.get_untracked() else { return };
        let wanted = RowQuery {
            search: search.value().trim().to_string(),
            label: chosen(label),
            part: chosen(part).and_then(|word| PARTS.into_iter().find(|part| part_word(*part) == word)),
            finding: chosen(finding).and_then(|word| FindingKind::parse(&word)),
            ..RowQuery::default()
        };
        let address = address(dataset.id, untrack(|| pinned(dataset)), &wanted, 0);
        // Only the rows change: nothing scrolls, and "Back" leads to the page before this one.
        navigate(
            address.trim_end_matches("#rows"),
            NavigateOptions { scroll: false, replace: true, ..Default::default() },
        );
    };
    let ask = StoredValue::new(ask);
    // Nothing happens once the page has been left.
    let ask_now = move || {
        ask.try_with_value(|ask| ask());
    };
    let pause = StoredValue::new(None::<TimeoutHandle>);
    // A link may ask for something else. What is typed differs from what is asked for by its last blank only.
    Effect::new(move |_| {
        let asked = asked.read().search.clone();
        if let Some(search) = search.get().filter(|search| search.value().trim() != asked) {
            search.set_value(&asked);
        }
    });
    let stop_waiting = move || {
        if let Some(Some(timer)) = pause.try_update_value(Option::take) {
            timer.clear();
        }
    };
    on_cleanup(stop_waiting);
    let on_input = move |_| {
        stop_waiting();
        let timer = set_timeout_with_handle(ask_now, TYPING_PAUSE);
        pause.set_value(timer.ok());
    };
    let on_submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        stop_waiting();
        ask_now();
    };
    let labels = move || {
        let labels = dataset.version.read().labels.clone();
        labels
            .into_iter()
            .map(|count| {
                let value = count.label.clone();
                let is_asked = Memo::new(move |_| asked.read().label.as_ref() == Some(&value));
                view! {
                    <option value=count.label.clone() selected=is_asked prop:selected=is_asked>
                        {count.label.clone()}
                    </option>
                }
            })
            .collect_view()
    };
    let parts = PARTS
        .map(|part| {
            let is_asked = Memo::new(move |_| asked.read().part == Some(part));
            view! {
                <option value=part_word(part) selected=is_asked prop:selected=is_asked>
                    {part.name()}
                </option>
            }
        })
        .collect_view();
    let findings = FindingKind::ALL
        .into_iter()
        .filter(|kind| *kind != FindingKind::Rejected)
        .map(|kind| {
            let is_asked = Memo::new(move |_| asked.read().finding == Some(kind));
            view! {
                <option value=kind.as_str() selected=is_asked prop:selected=is_asked>
                    {words::finding_name(kind)}
                </option>
            }
        })
        .collect_view();
    let version = (!untrack(|| dataset.is_newest())).then(|| {
        view! { <input type="hidden" name="version" value=dataset.shown.get_untracked().to_string() /> }
    });
    view! {
        <form
            class="row-search"
            role="search"
            method="get"
            action=format!("/datasets/{}", dataset.id)
            on:submit=on_submit
        >
            {version}
            <label class="visually-hidden" for="q">
                "Search in the texts"
            </label>
            <input
                class="input"
                type="search"
                id="q"
                name="q"
                node_ref=search
                autocomplete="off"
                placeholder="Search in the texts"
                value=move || asked.read().search.clone()
                on:input=on_input
            />
            <label class="visually-hidden" for="label">
                "Only this label"
            </label>
            <select class="select" id="label" name="label" node_ref=label on:change=move |_| ask_now()>
                <option value="">"All labels"</option>
                {labels}
            </select>
            {has_parts
                .then(|| {
                    view! {
                        <label class="visually-hidden" for="part">
                            "Only this part"
                        </label>
                        <select class="select" id="part" name="part" node_ref=part on:change=move |_| ask_now()>
                            <option value="">"All parts"</option>
                            {parts}
                        </select>
                    }
                })}
            <label class="visually-hidden" for="finding">
                "Only this finding"
            </label>
            <select class="select" id="finding" name="finding" node_ref=finding on:change=move |_| ask_now()>
                <option value="">"With or without findings"</option>
                {findings}
            </select>
            <button class="button script-hidden" type="submit">
                "Search"
            </button>
        </form>
    }
    .into_any()
}
