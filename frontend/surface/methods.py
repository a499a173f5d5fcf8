from smelt.base import TensorBase


class Methods(TensorBase):
    pass
