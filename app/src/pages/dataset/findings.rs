mod group;
mod repair;

use super::open::{Examined, OpenDataset};
use super::words;
use crate::api::findings::get_finding;
use crate::components::{Button, ErrorNotice, Loading, Pill, Tone};
use crate::format;
use domain::finding::{Finding, FindingKind, FindingPage, Severity};
use domain::version::{RowQuery, VersionNumber};
use group::{GroupView, is_one_text};
use leptos::prelude::*;
use leptos::{ev, html};
use repair::Repairs;

/// Groups of a finding that are shown at once.
const GROUPS_SHOWN: u64 = 8;

/// What was found, weightiest first. Each finding opens to why it matters, the rows, and what can be done about it.
#[component]
pub fn Findings(dataset: OpenDataset, examined: Examined) -> impl IntoView {
    let findings = move || {
        let report = examined.report.get();
        let listed = report.into_iter().flat_map(|report| {
            let version = report.version;
            report.findings.into_iter().map(move |finding| (version, finding))
        });
        listed.collect::<Vec<_>>()
    };
    let nothing = move || examined.report.read().as_ref().is_some_and(|report| report.findings.is_empty());
    view! {
        <section class="card" id="findings" aria-labelledby="findings-title">
            <header class="card-head">
                <h2 class="card-title" id="findings-title">
                    "Findings"
                </h2>
                <p class="card-note">{move || how_long(&examined)}</p>
            </header>
            <Show when=move || examined.report.read().is_none()>
                <p class="soft">"They stand here as soon as the examination is done."</p>
            </Show>
            <Outdated dataset examined />
            <Show when=nothing>
                <p class="soft">"Nothing was found. The data is as it should be."</p>
            </Show>
            <ul class="findings">
                <For
                    each=findings
                    key=|(version, finding)| (*version, finding.kind)
                    children=move |(version, finding)| view! { <FindingEntry dataset examined finding version /> }
                />
            </ul>
        </section>
    }
    .into_any()
}

fn how_long(examined: &Examined) -> Option<String> {
    let report = examined.report.read();
    let report = report.as_ref()?;
    Some(format!("{} examined in {}", format::counted(report.rows, "row", "rows"), format::duration(report.seconds)))
}

#[component]
fn Outdated(dataset: OpenDataset, examined: Examined) -> impl IntoView {
    move || {
        let of = examined.report.read().as_ref().map(|report| report.version)?;
        let shown = dataset.shown.get();
        (of != shown).then(|| {
            view! {
                <p class="small soft" role="status">
                    {format!("These are those of version {of}; version {shown} is being examined.")}
                </p>
            }
        })
    }
}

#[component]
fn FindingEntry(dataset: OpenDataset, examined: Examined, finding: Finding, version: VersionNumber) -> impl IntoView {
    let kind = finding.kind;
    let id = format!("finding-{}", kind.as_str());
    let details = NodeRef::<html::Details>::new();
    // The groups are fetched when somebody opens them.
    let is_open = RwSignal::new(false);
    let has_opened = Memo::new(move |before| before == Some(&true) || is_open.get());
    open_when_addressed(id.clone(), details);
    let tone = match finding.severity {
        Severity::Problem => Tone::Bad,
        Severity::Warning => Tone::Warning,
        Severity::Note => Tone::Neutral,
    };
    let facts = finding
        .facts
        .iter()
        .map(|fact| {
            view! {
                <li>
                    <span class="finding-fact-count">{format::count(fact.count)}</span>
                    <span>{fact.name.clone()}</span>
                </li>
            }
        })
        .collect_view();
    let has_facts = !finding.facts.is_empty();
    let rows_link = (finding.rows > 0 && kind != FindingKind::Rejected).then(|| {
        let asked = RowQuery { finding: Some(kind), ..RowQuery::default() };
        let version = (!dataset.is_newest()).then_some(version);
        view! {
            <a href=super::rows::address(dataset.id, version, &asked, 0)>
                {format!("Show {} among all rows", format::counted(finding.rows, "row", "rows"))}
            </a>
        }
    });
    let rejected_link = (kind == FindingKind::Rejected)
        .then(|| view! { <a href=format!("/datasets/{}?rejected=1#rejected", dataset.id) rel="external">"Show them with their reasons"</a> });
    let has_groups = finding.groups > 0 && kind != FindingKind::Rejected;
    view! {
        <li>
            <details
                class="fold finding"
                id=id
                tabindex="-1"
                node_ref=details
                on:toggle=move |_| {
                    if let Some(details) = details.get_untracked() {
                        is_open.set(details.open());
                    }
                }
            >
                <summary class="fold-summary finding-summary">
                    <span class="finding-headline">{finding.headline.clone()}</span>
                    <Pill tone>{words::severity(finding.severity)}</Pill>
                </summary>
                <div class="finding-body">
                    <p class="finding-why">{finding.why.clone()}</p>
                    {has_facts.then(|| view! { <ul class="finding-facts">{facts}</ul> })}
                    <Repairs dataset examined kind version offers=finding.repairs.clone() />
                    <Show when=move || has_groups && has_opened.get()>
                        <Groups dataset kind version />
                    </Show>
                    <p class="small">{rows_link} {rejected_link}</p>
                </div>
            </details>
        </li>
    }
    .into_any()
}

/// Opens the finding when the page's address comes to name it, as after "What to do first".
fn open_when_addressed(id: String, details: NodeRef<html::Details>) {
    Effect::new(move |_| {
        let Some(element) = details.get() else { return };
        let id = id.clone();
        let look = move || {
            if window().location().hash().is_ok_and(|hash| hash.strip_prefix('#') == Some(id.as_str())) {
                element.set_open(true);
                element.scroll_into_view();
            }
        };
        look();
        let listener = window_event_listener(ev::hashchange, move |_| look());
        on_cleanup(move || listener.remove());
    });
}

/// The rows of a finding as they belong together, a few groups at a time.
#[component]
fn Groups(dataset: OpenDataset, kind: FindingKind, version: VersionNumber) -> impl IntoView {
    let first = RwSignal::new(0_u64);
    // Where the next page begins: of very long texts fewer are sent at once.
    let next = RwSignal::new(GROUPS_SHOWN);
    let page = LocalResource::new(move || get_finding(dataset.id, version, kind, first.get(), GROUPS_SHOWN));
    view! {
        <Transition fallback=|| view! { <Loading what="the rows" /> }>
            {move || {
                page.get()
                    .map(|page| match page {
                        Ok(page) => view! { <GroupPage dataset kind page first next /> }.into_any(),
                        Err(error) => view! { <ErrorNotice error /> }.into_any(),
                    })
            }}
        </Transition>
    }
    .into_any()
}

#[component]
fn GroupPage(
    dataset: OpenDataset,
    kind: FindingKind,
    page: FindingPage,
    first: RwSignal<u64>,
    next: RwSignal<u64>,
) -> impl IntoView {
    let FindingPage { groups, first: from, total } = page;
    if groups.is_empty() {
        return ().into_any();
    }
    let to = from + groups.len() as u64;
    next.set(to);
    let labels: Vec<String> = dataset.version.read_untracked().labels.iter().map(|count| count.label.clone()).collect();
    let what = if is_one_text(kind) { "texts" } else { "cases" };
    let groups = groups
        .into_iter()
        .map(|group| view! { <li><GroupView kind group labels=labels.clone() /></li> })
        .collect_view();
    let place = format!("{} to {} of {} {what}", format::count(from + 1), format::count(to), format::count(total));
    view! {
        <ul class="groups">{groups}</ul>
        <Show when=move || { total > GROUPS_SHOWN }>
            <nav class="pager" aria-label=format!("{}: groups", words::finding_name(kind))>
                <Button
                    disabled=Signal::derive(move || from == 0)
                    on:click=move |_| first.update(|first| *first = first.saturating_sub(GROUPS_SHOWN))
                >
                    "Previous"
                </Button>
                <span class="pager-place" role="status">
                    {place.clone()}
                </span>
                <Button
                    disabled=Signal::derive(move || to >= total)
                    on:click=move |_| first.set(next.get_untracked())
                >
                    "Next"
                </Button>
            </nav>
        </Show>
    }
    .into_any()
}
