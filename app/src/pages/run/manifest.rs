use super::super::runs::look_again_while;
use crate::api::manifests::{Origin, ReproduceRun, get_origin};
use crate::components::{Button, Card, ErrorNotice, Fold, Notice, Tone};
use crate::error::ApiError;
use crate::format;
use domain::manifest::{Manifest, ManifestData, short};
use domain::run::{RunId, RunStatus};
use domain::sweep::SweepKind;
use leptos::prelude::*;

/// What the run is made of, to be kept and to be made again; and where it comes from.
#[component]
pub fn RunManifest(run: RunId, status: Memo<RunStatus>) -> impl IntoView {
    // As with `while_shown`: a status has no default.
    let origin = Resource::new(move || status.try_get(), move |_| get_origin(run));
    // It is written a moment after the run has been taken up. Asking the resource itself out here would hide the whole
    // page until its answer has come: the page around this waits for what is read in it.
    let is_missing = RwSignal::new(false);
    let is_awaited =
        move || is_missing.get() && matches!(status.try_get(), Some(RunStatus::Running | RunStatus::Queued));
    look_again_while(is_awaited, move || origin.refetch());
    let reproduce = ServerAction::<ReproduceRun>::new();
    let refused = move || reproduce.value().get().and_then(Result::err);
    view! {
        <Card title="Made of" note="Everything that decides the numbers of this run.">
            <div class="stack">
                {move || refused().map(|error: ApiError| view! { <ErrorNotice error /> })}
                <Transition>
                    {move || Suspend::new(async move {
                        let origin = origin.await;
                        is_missing.try_set(matches!(origin, Ok(Origin { manifest: None, .. })));
                        match origin {
                            Err(error) => view! { <ErrorNotice error /> }.into_any(),
                            Ok(origin) => view! { <OriginView run origin reproduce /> }.into_any(),
                        }
                    })}
                </Transition>
            </div>
        </Card>
    }
    .into_any()
}

#[component]
fn OriginView(run: RunId, origin: Origin, reproduce: ServerAction<ReproduceRun>) -> impl IntoView {
    let Origin { manifest, reproduction, sweep } = origin;
    let has_manifest = manifest.is_some();
    let of = reproduction.map(|reproduction| {
        let same =
            reproduction.first_other_step.is_none() && reproduction.other_predictions.is_none_or(|rows| rows == 0);
        view! {
            <Notice tone=if same { Tone::Good } else { Tone::Warning }>
                <p>
                    "Made again from the manifest of "
                    <a href=format!("/runs/{}", reproduction.of)>{reproduction.of_name.clone()}</a> ". "
                    {reproduction.in_words()}
                </p>
            </Notice>
        }
    });
    let part_of = sweep.map(|sweep| {
        let what = match sweep.kind {
            SweepKind::Search => "One run of the sweep ",
            SweepKind::Seeds => "One of several seeds: ",
        };
        view! {
            <p>
                {what} <a href=format!("/sweeps/{}", sweep.id)>{sweep.name}</a> "."
            </p>
        }
    });
    view! {
        {of}
        {part_of}
        {match manifest {
            Some(manifest) => view! { <Lines manifest /> }.into_any(),
            None => view! { <p class="soft">"The manifest is written when the run is taken up."</p> }.into_any(),
        }}
        <div class="row manifest-actions">
            {has_manifest
                .then(|| {
                    view! {
                        <ActionForm action=reproduce>
                            <input type="hidden" name="id" value=run.to_string() />
                            <Button type_="submit" pending=reproduce.pending()>
                                "Reproduce"
                            </Button>
                        </ActionForm>
                        <a class="button button-quiet" href=format!("/runs/{run}/manifest.json") rel="external" download="">
                            "Manifest (JSON)"
                        </a>
                    }
                })}
            <a class="button button-quiet" href=format!("/runs/{run}/tensorboard") rel="external" download="">
                "TensorBoard event file"
            </a>
        </div>
    }
    .into_any()
}

#[component]
fn Lines(manifest: Manifest) -> impl IntoView {
    let part = |name: &str, part: &domain::manifest::PartHash| {
        (format!("{name} rows"), format!("{}, ", format::count(part.rows)), Some(part.hash.clone()))
    };
    let mut lines = Vec::new();
    if let ManifestData::Datasets { dataset, validation, test, .. } = &manifest.data {
        let pinned = [("Data", Some(dataset)), ("Validation data", validation.as_ref()), ("Test data", test.as_ref())];
        for (name, pinned) in pinned {
            if let Some(pinned) = pinned {
                let words = format!("{}, version {}, ", pinned.name, pinned.version);
                lines.push((name.to_string(), words, Some(pinned.hash.clone())));
            }
        }
    }
    lines.push(part("Training", &manifest.train));
    lines.push(part("Validation", &manifest.validation));
    lines.push(part("Test", &manifest.test));
    lines.push(("Base model".to_string(), format!("{}, ", manifest.base.name), Some(manifest.base.hash.clone())));
    if let Some(start) = &manifest.start_from {
        lines.push(("Started from".to_string(), "adapter ".to_string(), Some(start.hash.clone())));
    }
    lines.push(("Seed".to_string(), manifest.spec.seed.to_string(), None));
    lines.push(("Program".to_string(), manifest.program.clone(), None));
    lines.push(("Device".to_string(), manifest.device.name.clone(), None));
    let lines = lines
        .into_iter()
        .map(|(name, words, hash)| {
            view! {
                <div class="knob-line">
                    <dt>{name}</dt>
                    <dd class="number">
                        {words} {hash.map(|hash| view! { <code title=hash.clone()>{short(&hash)}</code> })}
                    </dd>
                </div>
            }
        })
        .collect_view();
    view! {
        <Fold summary="Hashes, program and device">
            <dl class="knob-lines">{lines}</dl>
        </Fold>
    }
    .into_any()
}
