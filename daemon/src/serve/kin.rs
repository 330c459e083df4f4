//! What is asked of one model and needs the others: its relatives. Reads the index, and changes nothing.

use super::{
    answer::{Failure, meant, refusal},
    hub::Hub,
};
use api::Shown;
use domain::{Family, Tree};

pub(super) async fn show(hub: &Hub, typed: &str) -> Result<Shown, Failure> {
    let (mut model, facts) = meant(hub, typed).await?;
    let id = model.id.clone();
    let shown = hub.read(move |reader| {
        let same_weights = reader.with_the_weights_of(&id)?;
        if !model.lineage.is_empty() {
            let all = reader.kin()?;
            let family = Family::new(&all);
            for ancestor in &mut model.lineage {
                let found = family.find(ancestor).filter(|found| found.id != id);
                ancestor.model_id = found.map(|found| found.id.clone());
            }
        }
        Ok(Shown { model, facts, same_weights })
    });
    shown.await.map_err(refusal)
}

pub(super) async fn tree(hub: &Hub, typed: &str) -> Result<Tree, Failure> {
    let (model, _) = meant(hub, typed).await?;
    let id = model.id;
    let typed = typed.to_owned();
    let drawn = hub.read(move |reader| {
        let tree = Family::new(&reader.kin()?).tree(&id);
        // It went between the two reads.
        tree.ok_or_else(|| api::ApiError::NoSuchModel { name: typed, similar: Vec::new() }.into())
    });
    drawn.await.map_err(refusal)
}
