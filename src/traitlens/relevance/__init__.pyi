from .attribution import Explainer as Explainer
from .attribution import analyze as analyze
from .attribution import explain_with_conservation as explain_with_conservation
from .methods import METHODS as METHODS
from .methods import Method as Method
from .methods import find_method as find_method
from .methods import register as register
from .regional_maps import RegionalExplainer as RegionalExplainer
