"""robustscape: tables and figures of works on adversarial robustness and loss landscapes, regenerated from source."""

__version__ = "0.2.0"
