"""The command line: ``model-deployment serve``, ``deploy``, ``predict``, ``users``, ``backup`` …"""
