"""The warm parent and the model servers: a program that has imported what models need, and forks a
process for each model. Nothing here knows the controller; :mod:`model_deployment.worker.protocol` is how
they speak.
"""
