"""Functions of the stages in :data:`traitlens.pipeline.flow.FLOW`."""
