"""The functions that make the stages of :data:`traitlens.pipeline.flow.FLOW`, by what they make."""
