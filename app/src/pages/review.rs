//! The review of doubtful labels: one row at a time, by keyboard, several people at once.

mod list;
mod queue;
mod row;

use crate::api::label_checks::{ReviewPageData, apply_review, get_review_page};
use crate::components::{
    Button, ButtonKind, ButtonLink, EmptyState, ErrorNotice, Loading, Notice, PageHeader, ProgressBar, ReviewerField,
    Tone,
};
use crate::error::ApiError;
use crate::format;
use crate::reviewer;
use crate::while_shown::while_shown;
use domain::dataset::DatasetId;
use domain::error::UserError;
use domain::review::{LabelCheck, LabelCheckId, LabelCheckStatus};
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use list::QueueList;
use queue::Queue;
use row::ReviewedRow;

#[component]
pub fn ReviewPage() -> impl IntoView {
    let params = use_params_map();
    let ids = Memo::new(move |_| {
        let params = params.read();
        let id = params.get("id").and_then(|id| id.parse::<DatasetId>().ok())?;
        Some((id, params.get("check").and_then(|check| check.parse::<LabelCheckId>().ok())?))
    });
    let data = Resource::new_blocking(while_shown(ids), |ids| async move {
        match ids {
            Some((dataset, check)) => get_review_page(dataset, check).await,
            None => Err(ApiError::from(UserError::not_found(
                "The address of a review holds the numbers of a dataset and of a check; this one does not.",
            ))),
        }
    });
    view! {
        <Transition fallback=|| view! { <Loading what="the review" /> }>
            {move || {
                data.get()
                    .map(|data| match data {
                        Ok(data) => view! { <Review data /> }.into_any(),
                        Err(error) => view! { <NoReview error /> }.into_any(),
                    })
            }}
        </Transition>
    }
    .into_any()
}

#[component]
fn NoReview(error: ApiError) -> impl IntoView {
    super::not_found::set_status(&error);
    view! {
        <PageHeader title="Label review" parent=("/datasets", "Datasets") />
        <ErrorNotice error>
            <ButtonLink href="/datasets">"All datasets"</ButtonLink>
        </ErrorNotice>
    }
    .into_any()
}

#[component]
fn Review(data: ReviewPageData) -> impl IntoView {
    let ReviewPageData { dataset_name, labels, review } = data;
    let dataset = review.check.dataset;
    let name = reviewer::remembered_name();
    let queue = Queue::new(review, name);
    queue.follow_others();
    queue.listen_to_keys(labels.clone());
    let doubtful = Memo::new(move |_| queue.check.read().doubtful);
    let subtitle = Signal::derive(move || {
        let check = queue.check.read();
        let agreement = check.agreement.map_or(String::new(), |share| {
            format!("; the classifiers agree with {} of the labels", format::percent(share))
        });
        Some(format!(
            "Version {}: {} judged by classifiers that had not seen them{agreement}.",
            check.version,
            format::counted(check.judged, "row was", "rows were")
        ))
    });
    view! {
        <PageHeader title=format!("Label review: {dataset_name}") parent=("/datasets", "Datasets") subtitle>
            <div class="dataset-actions">
                <ReviewerField name />
                <ButtonLink href=format!("/datasets/{dataset}")>"To the dataset"</ButtonLink>
            </div>
        </PageHeader>
        <div class="stack">
            <Standing queue dataset />
            <Show
                when=move || { doubtful.get() > 0 }
                fallback=move || {
                    view! {
                        <EmptyState title="No doubtful labels" text="The classifiers agree with every label that they are sure of. There is nothing to decide." />
                    }
                }
            >
                <div class="review">
                    <ReviewedRow queue labels=labels.clone() />
                    <QueueList queue labels=labels.clone() />
                </div>
            </Show>
        </div>
    }
    .into_any()
}

/// How many are decided, and what makes a version of it.
#[component]
fn Standing(queue: Queue, dataset: DatasetId) -> impl IntoView {
    let made = RwSignal::new(None);
    let apply = Action::new(move |(): &()| {
        let (check, by) = (queue.id(), reviewer::by(queue.name));
        async move {
            made.try_set(Some(apply_review(check, by).await));
            queue.look();
        }
    });
    let decided = Memo::new(move |_| queue.check.read().decided);
    let is_open = move || queue.check.read().status == LabelCheckStatus::Ready;
    let share = Signal::derive(move || {
        let check = queue.check.read();
        Some(check.decided as f64 / check.doubtful.max(1) as f64)
    });
    let words = move || {
        let check = queue.check.read();
        format!("{} of {} decided", format::count(check.decided), format::counted(check.doubtful, "row", "rows"))
    };
    view! {
        <section class="card review-standing" aria-label="Where the review stands">
            <div class="row-between">
                <p role="status">
                    <strong>{words}</strong>
                </p>
                <Show when=is_open>
                    <Button
                        kind=ButtonKind::Primary
                        disabled=Signal::derive(move || decided.get() == 0)
                        pending=apply.pending()
                        on:click=move |_| {
                            apply.dispatch(());
                        }
                    >
                        {move || format!("Make a version of {}", format::counted(decided.get(), "decision", "decisions"))}
                    </Button>
                </Show>
            </div>
            <ProgressBar value=share label="Rows decided" />
            {move || {
                made.get()
                    .map(|made| match made {
                        Ok(version) => {
                            view! {
                                <Notice tone=Tone::Good title=format!("Version {} is there", version.number)>
                                    <p>
                                        {format!(
                                            "{} relabelled, {} removed. ",
                                            format::counted(version.relabelled, "row", "rows"),
                                            format::count(version.removed),
                                        )} <a href=format!("/datasets/{dataset}")>"Look at it"</a>
                                    </p>
                                </Notice>
                            }
                                .into_any()
                        }
                        Err(error) => view! { <ErrorNotice error /> }.into_any(),
                    })
            }}
            {move || {
                let check = queue.check.read();
                (check.status == LabelCheckStatus::Applied && made.read().is_none()).then(|| applied(&check))
            }}
        </section>
    }
    .into_any()
}

/// What has become of the decisions.
fn applied(check: &LabelCheck) -> impl IntoView + use<> {
    let version = check.applied_as.map(|version| format!(" version {version}")).unwrap_or_default();
    let skipped = (check.skipped > 0).then(|| {
        format!(
            " {} been changed by hand meanwhile and were left as they are.",
            format::counted(check.skipped, "row had", "rows had")
        )
    });
    view! { <p class="soft">{format!("The decisions have become{version}.")} {skipped}</p> }
}
