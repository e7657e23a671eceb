use super::Draft;
use crate::components::Field;
use crate::format;
use domain::class_weights::ClassWeights;
use domain::dataset::LabelCount;
use domain::spec::Knob;
use leptos::prelude::*;

/// Labels that can be edited one by one; a longer list is typed.
const MOST_EDITED: usize = 30;

/// The weights of the labels: a field for `none`, `balanced` or a list, and with the script a small table that writes it.
#[component]
pub fn ClassWeightsKnob(draft: Draft, knob: &'static Knob) -> impl IntoView {
    let field = knob.name;
    let id = format!("run-{field}");
    let is_scripted = RwSignal::new(false);
    Effect::new(move |_| is_scripted.set(true));
    let chosen = Memo::new(move |_| ClassWeights::parse(draft.form.read().get(field)).ok());
    let way = move |weights: &Option<ClassWeights>| match weights {
        Some(ClassWeights::None) => "none",
        Some(ClassWeights::Balanced) => "balanced",
        Some(ClassWeights::Named(_)) => "own",
        None => "",
    };
    let labels = Memo::new(move |_| draft.dataset().map(|dataset| dataset.labels).unwrap_or_default());
    let choose = move |way: &'static str| {
        let words = match way {
            "own" => words_of(&labels.get_untracked(), &balanced(&labels.get_untracked())),
            way => way.to_string(),
        };
        draft.set(field, words);
    };
    let button = move |name: &'static str, words: &'static str| {
        view! {
            <button
                type="button"
                class="chip"
                aria-pressed=move || (way(&chosen.read()) == name).to_string()
                on:click=move |_| choose(name)
            >
                {words}
            </button>
        }
    };
    view! {
        <Field label=knob.title id=id.clone() help=knob.help error=draft.error(field)>
            <input
                class="input"
                id=id.clone()
                name=format!("form[{field}]")
                autocomplete="off"
                spellcheck="false"
                aria-describedby=format!("{id}-help {id}-error")
                value=draft.form.read_untracked().get(field).to_string()
                prop:value=move || draft.get(field)
                on:input=move |event| draft.set(field, event_target_value(&event))
            />
        </Field>
        <Show when=move || is_scripted.get()>
            <div class="chips" role="group" aria-label="Ways of weighting">
                {button("none", "None")}
                {button("balanced", "Balanced by frequency")}
                {button("own", "One by one")}
            </div>
            <Show when=move || { way(&chosen.read()) != "none" && labels.read().len() <= MOST_EDITED }>
                <WeightTable draft field labels chosen />
            </Show>
        </Show>
    }
    .into_any()
}

/// Every label with its rows and its weight. The weights are for all rows of the dataset; training uses those of its own
/// part, which has the labels in much the same shares.
#[component]
fn WeightTable(
    draft: Draft,
    field: &'static str,
    labels: Memo<Vec<LabelCount>>,
    chosen: Memo<Option<ClassWeights>>,
) -> impl IntoView {
    let rows = move || {
        let labels = labels.get();
        let inverse = balanced(&labels);
        let rows = labels.into_iter().zip(inverse).map(|(count, inverse)| {
            let label = StoredValue::new(count.label.clone());
            let weight = move || match &*chosen.read() {
                Some(ClassWeights::Named(named)) => {
                    let own =
                        label.with_value(|label| named.iter().find(|(name, _)| name == label).map(|named| named.1));
                    own.unwrap_or(1.0)
                }
                _ => inverse,
            };
            let write = move |words: String| {
                let Ok(weight) = words.trim().parse::<f64>() else { return };
                let words =
                    chosen.with_untracked(|chosen| labels_with(draft, chosen.as_ref(), &label.get_value(), weight));
                draft.set(field, words);
            };
            view! {
                <tr>
                    <th scope="row">{count.label.clone()}</th>
                    <td class="number">{format::count(count.rows)}</td>
                    <td class="number">{shown(inverse)}</td>
                    <td>
                        <input
                            class="input weight"
                            inputmode="decimal"
                            autocomplete="off"
                            aria-label=format!("Weight of {}", count.label)
                            prop:value=move || shown(weight())
                            on:change=move |event| write(event_target_value(&event))
                        />
                    </td>
                </tr>
            }
        });
        rows.collect_view()
    };
    view! {
        <table class="table weight-table">
            <thead>
                <tr>
                    <th scope="col">"Label"</th>
                    <th scope="col" class="number">
                        "Rows"
                    </th>
                    <th scope="col" class="number">
                        "By frequency"
                    </th>
                    <th scope="col">"Weight"</th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
    .into_any()
}

/// Rows over labels times rows of the label, as training works them out.
fn balanced(labels: &[LabelCount]) -> Vec<f64> {
    let names: Vec<String> = labels.iter().map(|count| count.label.clone()).collect();
    let rows: Vec<u64> = labels.iter().map(|count| count.rows).collect();
    let weights = ClassWeights::Balanced.per_label(&names, &rows).unwrap_or_default();
    // The smallest weight that can be given is a thousandth.
    weights.into_iter().map(|weight| f64::from(weight).max(0.001)).collect()
}

/// The list with one label's weight changed.
fn labels_with(draft: Draft, chosen: Option<&ClassWeights>, label: &str, weight: f64) -> String {
    let labels = draft.dataset().map(|dataset| dataset.labels).unwrap_or_default();
    let mut weights = balanced(&labels);
    if let Some(ClassWeights::Named(named)) = chosen {
        for (count, weight) in labels.iter().zip(&mut weights) {
            *weight = named.iter().find(|(name, _)| *name == count.label).map_or(1.0, |named| named.1);
        }
    }
    for (count, old) in labels.iter().zip(&mut weights) {
        if count.label == label {
            *old = weight;
        }
    }
    words_of(&labels, &weights)
}

fn words_of(labels: &[LabelCount], weights: &[f64]) -> String {
    let named = labels.iter().zip(weights).map(|(count, weight)| (count.label.clone(), rounded(*weight))).collect();
    ClassWeights::Named(named).to_string()
}

/// Three digits behind the point are more than anybody means.
fn rounded(weight: f64) -> f64 {
    (1000.0 * weight).round() / 1000.0
}

fn shown(weight: f64) -> String {
    rounded(weight).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_labels_weigh_more() {
        let labels = [("often", 90), ("seldom", 10)].map(|(label, rows)| LabelCount { label: label.into(), rows });
        assert_eq!(words_of(&labels, &balanced(&labels)), "often=0.556,seldom=5");
    }
}
