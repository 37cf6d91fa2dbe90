"""The offline trainer and the evaluation of DALF (installed as dalf_training). Its parts are still to come."""
