use super::super::open::{Examined, OpenDataset};
use super::super::words;
use super::group::SHOWN_CHARS;
use crate::api::findings::{apply_repair, preview_repair};
use crate::components::{BeforeAndAfterText, Button, ButtonKind, ErrorNotice, Field, LabelChart, LabelName};
use crate::error::ApiError;
use crate::format;
use domain::finding::{FindingKind, Repair, RepairOffer, RepairPreview, RepairedRow};
use domain::version::VersionNumber;
use leptos::prelude::*;

/// A repair that was previewed, with its name.
type Previewed = (RepairOffer, Result<RepairPreview, ApiError>);

/// Rows that a preview shows.
const ROWS_SHOWN: usize = 6;

/// What can be done about a finding: looked at first, then applied as a new version.
#[component]
pub fn Repairs(
    dataset: OpenDataset,
    examined: Examined,
    kind: FindingKind,
    /// The one that was examined.
    version: VersionNumber,
    offers: Vec<RepairOffer>,
) -> impl IntoView {
    if offers.is_empty() {
        return ().into_any();
    }
    let preview = Action::new(move |offer: &RepairOffer| {
        let offer = offer.clone();
        async move {
            let preview = preview_repair(dataset.id, kind, offer.repair.clone()).await;
            (offer, preview)
        }
    });
    let shown = RwSignal::new(None::<Previewed>);
    Effect::new(move |_| shown.set(preview.value().get()));
    let can_repair = Memo::new(move |_| dataset.is_newest() && examined.is_current.get());
    let buttons = offers.into_iter().map(|offer| view! { <Offer offer preview can_repair /> }).collect_view();
    let why_not = move || {
        let words = match dataset.newest.get() == version {
            true => "Only the newest version can be repaired.",
            false => "Possible as soon as the newest version is looked at and examined.",
        };
        (!can_repair.get()).then(|| view! { <p class="small soft">{words}</p> })
    };
    view! {
        <div class="repairs no-script-hidden">
            <h3>"What can be done"</h3>
            <div class="row">{buttons}</div>
            {why_not}
            // Each preview anew, with the button that applies it and no other.
            <For
                each=move || shown.get().map(|previewed| (preview.version().get_untracked(), previewed))
                key=|(number, _)| *number
                children=move |(_, (offer, previewed))| match previewed {
                    Ok(preview) => view! { <Preview dataset kind offer preview shown /> }.into_any(),
                    Err(error) => view! { <ErrorNotice error /> }.into_any(),
                }
            />
        </div>
    }
    .into_any()
}

/// One repair's button; with a number where it takes one.
#[component]
fn Offer(offer: RepairOffer, preview: Action<RepairOffer, Previewed>, can_repair: Memo<bool>) -> impl IntoView {
    let title = offer.title.clone();
    let wanted = offer.clone();
    let pending = Signal::derive(move || preview.pending().get() && preview.input().read().as_ref() == Some(&wanted));
    let Repair::CapPerLabel { rows } = offer.repair else {
        let disabled = Signal::derive(move || !can_repair.get());
        return view! {
            <Button
                disabled
                pending
                on:click=move |_| {
                    preview.dispatch(offer.clone());
                }
            >
                {format!("Preview: {title}")}
            </Button>
        }
        .into_any();
    };
    let typed = RwSignal::new(rows.to_string());
    let number = Memo::new(move |_| typed.read().trim().parse::<u64>().ok().filter(|rows| *rows > 0));
    let error =
        Signal::derive(move || number.get().is_none().then(|| "A whole number from 1 on is needed here.".to_owned()));
    let on_submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Some(rows) = number.get_untracked() else { return };
        let title = format!("At most {} per label", format::counted(rows, "row", "rows"));
        preview.dispatch(RepairOffer { repair: Repair::CapPerLabel { rows }, title });
    };
    view! {
        <form class="repair-cap" on:submit=on_submit>
            <Field label="Rows per label at most" id="cap-per-label" error>
                <input
                    class="input"
                    id="cap-per-label"
                    type="text"
                    inputmode="numeric"
                    aria-describedby="cap-per-label-error"
                    value=rows.to_string()
                    prop:value=move || typed.get()
                    on:input=move |event| typed.set(event_target_value(&event))
                />
            </Field>
            <Button
                type_="submit"
                disabled=Signal::derive(move || !can_repair.get() || number.get().is_none())
                pending=preview.pending()
            >
                {format!("Preview: {title}")}
            </Button>
        </form>
    }
    .into_any()
}

/// What the repair would do, with the button that does it.
#[component]
fn Preview(
    dataset: OpenDataset,
    kind: FindingKind,
    offer: RepairOffer,
    preview: RepairPreview,
    shown: RwSignal<Option<Previewed>>,
) -> impl IntoView {
    let RepairPreview { version, rows, removed, relabelled, rewritten, labels } = preview;
    let repair = offer.repair.clone();
    let apply = Action::new(move |(): &()| {
        let (repair, by) = (repair.clone(), dataset.by());
        async move {
            let outcome = apply_repair(dataset.id, version, kind, repair, by).await;
            if outcome.is_ok() {
                shown.try_set(None);
            }
            dataset.take_in(outcome);
        }
    });
    let counts = [(removed, "removed"), (relabelled, "relabelled"), (rewritten, "rewritten")];
    let changes = removed + relabelled + rewritten;
    let names: Vec<String> = labels.iter().map(|count| count.label.clone()).collect();
    let more = changes.saturating_sub(rows.len().min(ROWS_SHOWN) as u64);
    let more = (more > 0).then(|| {
        view! { <p class="small soft">{format!("and {}", format::counted(more, "more row", "more rows"))}</p> }
    });
    let rows = rows
        .into_iter()
        .take(ROWS_SHOWN)
        .map(|row| view! { <li class="group">{repaired_row(row, &names)}</li> })
        .collect_view();
    view! {
        <section class="preview" aria-label=format!("Preview: {}", offer.title)>
            <header class="row-between">
                <p role="status">
                    <strong>{offer.title.clone()}</strong>
                    ": "
                    {words::changed_rows(&counts)}
                </p>
                <div class="row">
                    <Button
                        kind=ButtonKind::Primary
                        disabled=Signal::derive(move || changes == 0)
                        pending=apply.pending()
                        on:click=move |_| {
                            apply.dispatch(());
                        }
                    >
                        "Apply"
                    </Button>
                    <Button kind=ButtonKind::Quiet on:click=move |_| shown.set(None)>
                        "Cancel"
                    </Button>
                </div>
            </header>
            <div class="preview-parts">
                <div class="preview-rows">
                    <h4 class="preview-head">"The first rows that change"</h4>
                    <ul class="groups">{rows}</ul>
                    {more}
                </div>
                <div class="preview-labels">
                    <h4 class="preview-head">"Rows per label afterwards"</h4>
                    <LabelChart labels />
                </div>
            </div>
        </section>
    }
    .into_any()
}

fn repaired_row(row: RepairedRow, labels: &[String]) -> AnyView {
    let RepairedRow { before, after } = row;
    let text_before = format::excerpt(&before.text, SHOWN_CHARS);
    let name = |label: &str| {
        let index = labels.iter().position(|known| known == label);
        view! { <LabelName index name=label.to_owned() /> }.into_any()
    };
    let line = format!("line {}", format::count(before.line));
    let Some((text, label)) = after else {
        return view! {
            <p class="group-text">
                <del>{text_before}</del>
            </p>
            <p class="group-place small">
                {name(&before.label)} " " <span class="soft number">{format!("{line}, goes")}</span>
            </p>
        }
        .into_any();
    };
    let text = match text == before.text {
        true => view! { <p class="group-text">{text_before}</p> }.into_any(),
        false => {
            let after = format::excerpt(&text, SHOWN_CHARS);
            view! { <BeforeAndAfterText before=text_before after /> }.into_any()
        }
    };
    let change = (label != before.label).then(|| {
        view! {
            <span class="soft">" becomes "</span>
            {name(&label)}
        }
    });
    view! {
        {text}
        <p class="group-place small">
            {name(&before.label)} {change} " " <span class="soft number">{line}</span>
        </p>
    }
    .into_any()
}
